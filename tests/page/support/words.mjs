// The page's words, as the page itself makes them: the tests name what they look for by key, in either language.

import { readFileSync } from 'node:fs';

import { t, use } from '../../../static/js/i18n.js';

const words = (name) => JSON.parse(readFileSync(new URL(`../../../static/lang/${name}.json`, import.meta.url), 'utf8'));

export const WORDS = { en: words('en'), fr: words('fr') };
use('en', WORDS.en);

/** A text of the page in a language. @param {'en' | 'fr'} language @param {string} key @param {Record<string, any>} [params] */
export function said(language, key, params) {
  use(language, WORDS[language]);
  const text = t(key, params);
  use('en', WORDS.en);
  return text;
}

export { t };
