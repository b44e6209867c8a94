// A translated sentence with things in it that are more than text: `{object}` becomes a link in whatever order the
// language wants it. Pure: parts come out, elements are made elsewhere.

/** @typedef {{object:number, name:string|null}|{run:string}} Thing */
/** @typedef {(string|Thing)[]} Parts */

// Private characters, which no text of the page and no parameter has: parameters are stripped of them.
const [OPEN, CLOSE] = ['\ue000', '\ue001'];
const MARKS = /[\ue000\ue001]/g;

/**
 * The text of a key in parts.
 * @param {(key:string, params?:object)=>string} t
 * @param {string} key
 * @param {Record<string, string|number|Thing|Parts>} [params]
 * @returns {Parts}
 */
export function rich(t, key, params = {}) {
  const things = [];
  const plain = {};
  for (const [name, value] of Object.entries(params)) {
    if (typeof value === 'number') plain[name] = value;
    else if (typeof value === 'string') plain[name] = value.replace(MARKS, '');
    else {
      plain[name] = `${OPEN}${things.length}${CLOSE}`;
      things.push(value);
    }
  }
  const parts = t(key, plain).split(/\ue000(\d+)\ue001/).flatMap((piece, at) => (at % 2 === 0 ? [piece] : [things[Number(piece)]].flat()));
  return parts.filter((part) => part !== '');
}

/** The same as plain text. @param {Parts} parts @returns {string} */
export function plain(parts) {
  return parts.map((part) => {
    if (typeof part === 'string') return part;
    if ('run' in part) return part.run;
    return part.name ? `${part.object} ${part.name}` : String(part.object);
  }).join('');
}

/** Parts one after the other, with a separator between. @param {Parts[]} lists @param {string} separator @returns {Parts} */
export function joined(lists, separator) {
  return lists.flatMap((parts, at) => (at === 0 ? parts : [separator, ...parts]));
}
