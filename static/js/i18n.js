// The words of the page in the reader's language. Knows keys and languages, not what they are for.

/** @typedef {'en' | 'fr'} Language */

/** @type {readonly Language[]} */
export const LANGUAGES = ['en', 'fr'];

/** @type {Record<string, Record<string, string>>} */
const texts = {};
/** @type {Language} */
let current = 'en';
let plural = new Intl.PluralRules(current);
let figures = new Intl.NumberFormat(current);

/** @returns {Language} the language of the page */
export function language() {
  return current;
}

/**
 * The text of a key. `{name}` in it is replaced by the parameter of that name. The parameter `n` is a count: it chooses
 * among `key.one` and `key.other` where these exist, and is written with the language's separators; every other
 * parameter is put in as it is, so that an id stays an id.
 * @param {string} key
 * @param {Record<string, string | number>} [params]
 * @returns {string}
 */
export function t(key, params) {
  const n = params?.n;
  const text = (typeof n === 'number' ? lookUp(`${key}.${plural.select(n)}`) ?? lookUp(`${key}.other`) : undefined) ?? lookUp(key) ?? key;
  if (!params) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = params[name];
    if (value === undefined || value === null) return whole;
    return name === 'n' && typeof value === 'number' ? figures.format(value) : String(value);
  });
}

function lookUp(key) {
  return texts[current]?.[key] ?? texts.en?.[key];
}

/**
 * The language to begin with: the one chosen before, else the first of the browser's that there is.
 * @param {string | null} chosen
 * @param {readonly string[]} preferred
 * @returns {Language}
 */
export function pick(chosen, preferred) {
  return [chosen ?? '', ...preferred].map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => LANGUAGES.includes(tag)) ?? 'en';
}

/**
 * Makes a language the page's, with its texts.
 * @param {Language} name
 * @param {Record<string, string>} words
 */
export function use(name, words) {
  texts[name] = words;
  current = name;
  plural = new Intl.PluralRules(name);
  figures = new Intl.NumberFormat(name);
}

/**
 * Fetches a language's texts where they are not here yet, and makes it the page's.
 * @param {Language} name
 */
export async function load(name) {
  if (!texts[name]) {
    const response = await fetch(new URL(`../lang/${name}.json`, import.meta.url));
    if (!response.ok) throw new Error(`lang/${name}.json: ${response.status}`);
    texts[name] = await response.json();
  }
  use(name, texts[name]);
}
