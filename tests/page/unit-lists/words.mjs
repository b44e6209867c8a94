// The page's texts without a page: what i18n.js does, from the files of the two languages.

import { readFileSync } from 'node:fs';
import { use } from '../../../static/js/i18n.js';

/** Makes a language the page's. @param {'en'|'fr'} name */
export function speak(name) {
  use(name, texts(name));
}

/** @param {'en'|'fr'} name */
export function texts(name) {
  return JSON.parse(readFileSync(new URL(`../../../static/lang/${name}.json`, import.meta.url), 'utf8'));
}
