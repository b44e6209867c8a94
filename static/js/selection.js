// A selection as one types it on the command line: selectors, and --exclude before each that is taken from them. Pure; what
// they mean, and whether they are right, the server says.

/**
 * @param {string} text
 * @returns {{targets: string[], exclude: string[]}}
 */
export function selectionOf(text) {
  const targets = [];
  const exclude = [];
  const words = text.match(/(?:"[^"]*"|\S)+/g) ?? []; // a name in quotes may hold spaces
  for (let i = 0; i < words.length; i += 1) {
    const [, joined] = /^--exclude(?:=(.*))?$/s.exec(words[i]) ?? [null, null];
    if (joined === null) targets.push(words[i]);
    else if (joined !== undefined) exclude.push(joined);
    else exclude.push(words[i += 1] ?? '');
  }
  return { targets, exclude };
}
