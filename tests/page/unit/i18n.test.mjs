// The words: how a text is made, and that both languages say all that the page asks for, and nothing else.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

import { pick, t, use } from '../../../static/js/i18n.js';

const STATIC = new URL('../../../static/', import.meta.url);
const words = Object.fromEntries(['en', 'fr'].map((name) => [name, JSON.parse(readFileSync(new URL(`lang/${name}.json`, STATIC), 'utf8'))]));
const sources = readdirSync(new URL('js/', STATIC), { recursive: true }).filter((name) => name.endsWith('.js'))
  .map((name) => [name, readFileSync(new URL(`js/${name}`, STATIC), 'utf8')]);
const all = sources.map(([, text]) => text).join('\n');
const PLURAL = /\.(one|other)$/;

/** Keys that are put together: what may stand after each of these is not checked. */
const DYNAMIC = ['state.', 'stage.', 'criticality.', 'view.', 'theme.', 'connection.', 'said.run-', 'run-state.', 'count.'];

test('a text takes its parameters, and the form of its number', () => {
  use('fr', { objects: '?', 'objects.one': '{n} objet', 'objects.other': '{n} objets', hello: 'Bonjour {name}, {id} {missing}' });
  assert.deepEqual([0, 1, 2, 1_000_000].map((n) => t('objects', { n }).replace(/\s/g, ' ')), ['0 objet', '1 objet', '2 objets', '1 000 000 objets']);
  assert.equal(t('hello', { name: '<b>', id: 2005 }), 'Bonjour <b>, 2005 {missing}');
  assert.equal(t('no.such'), 'no.such');
  use('en', { only: 'here' });
  use('fr', {});
  assert.equal(t('only'), 'here', 'English stands behind');
});

test('the first language: the chosen one, else the browser\'s first that there is', () => {
  assert.equal(pick('fr', ['en-US']), 'fr');
  assert.equal(pick(null, ['de-DE', 'fr-CA', 'en']), 'fr');
  assert.equal(pick('xx', ['de']), 'en');
  assert.equal(pick(null, []), 'en');
});

test('both languages have the same keys, none of them empty', () => {
  assert.deepEqual(Object.keys(words.en), Object.keys(words.fr));
  for (const [name, texts] of Object.entries(words)) {
    for (const [key, text] of Object.entries(texts)) assert.ok(typeof text === 'string' && text.trim() !== '', `${name} ${key}`);
    assert.deepEqual(Object.keys(texts), [...Object.keys(texts)].sort(), `${name} is sorted`);
  }
});

test('both languages have the same placeholders', () => {
  const placeholders = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
  for (const key of Object.keys(words.en)) assert.deepEqual(placeholders(words.fr[key]), placeholders(words.en[key]), key);
});

test('a key with a number has both of its forms', () => {
  for (const key of Object.keys(words.en).filter((key) => PLURAL.test(key))) {
    const stem = key.replace(PLURAL, '');
    for (const form of ['one', 'other']) assert.ok(`${stem}.${form}` in words.en, `${stem}.${form}`);
  }
});

test('French is set as French is', () => {
  for (const [key, text] of Object.entries(words.fr)) {
    assert.doesNotMatch(text, /[^\u00a0\u202f][;?!»]/, `${key}: a no-break space before ; ? ! »`);
    assert.doesNotMatch(text, / :|[\p{L})}] ?:( |$)|«[^\u00a0\u202f]/u, `${key}: a no-break space before : and after «`);
    assert.doesNotMatch(text, /'/, `${key}: ’ for an apostrophe`);
  }
});

test('every key that is asked for is there', () => {
  const missing = [];
  for (const [name, text] of sources) {
    for (const [, key] of text.matchAll(/(?<![\w.$])t\(\s*'([^']+)'/g)) {
      if (!(key in words.en) && !(`${key}.other` in words.en)) missing.push(`${name}: ${key}`);
    }
  }
  assert.deepEqual(missing, []);
});

test('no key is unused', () => {
  const quoted = new Set([...all.matchAll(/['"`]([\w-]+(?:\.[\w-]+)*)['"`]/g)].map(([, text]) => text));
  const patterns = [...all.matchAll(/`([\w.-]*)\$\{[^`]*?\}([\w.-]*)`/g)];
  // A template with a fixed beginning or end that has a dot in it: `${key}.hint`.
  const made = (key) => patterns.some(([, before, after]) => (before + after).includes('.') && key.startsWith(before) && key.endsWith(after));
  const unused = [...new Set(Object.keys(words.en).map((key) => key.replace(PLURAL, '')))]
    .filter((key) => !quoted.has(key) && !DYNAMIC.some((prefix) => key.startsWith(prefix)) && !made(key));
  assert.deepEqual(unused, []);
});
