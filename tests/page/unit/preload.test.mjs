// The modules that the first view needs are named in index.html, so that they come beside each other and not wave by wave.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const STATIC = fileURLToPath(new URL('../../../static/', import.meta.url));
const ENTRIES = ['js/main.js', 'js/graph/graph.js', 'js/travel.js'];

/** A module and all that it imports. */
function closure(file, known = new Set()) {
  if (known.has(file)) return known;
  known.add(file);
  const text = readFileSync(path.join(STATIC, file), 'utf8');
  for (const [, from, alone] of text.matchAll(/^(?:import|export)\b[^'"]*?from\s+'(\.[^']+)'|^import\s+'(\.[^']+)'/gm)) {
    closure(path.posix.join(path.posix.dirname(file), from ?? alone), known);
  }
  return known;
}

test('index.html names every module of the first view, and no other', () => {
  const needed = new Set(ENTRIES.flatMap((entry) => [...closure(entry)]));
  needed.delete('js/main.js'); // it has a script of its own
  const html = readFileSync(path.join(STATIC, 'index.html'), 'utf8');
  const named = [...html.matchAll(/<link rel="modulepreload" href="([^"]+)">/g)].map(([, file]) => file);
  assert.deepEqual([...named].sort(), [...needed].sort());
});
