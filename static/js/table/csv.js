// A table as CSV (RFC 4180), safe to open in a spreadsheet. Knows nothing of what the cells mean.

/** At most so many rows are written. */
export const MAX_ROWS = 100_000;

/**
 * One cell. A text that a spreadsheet would take for a formula gets an apostrophe before it.
 * @param {string|number|null|undefined} value
 * @returns {string}
 */
export function cell(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * @param {string[]} heads
 * @param {Iterable<(string|number|null|undefined)[]>} rows
 * @returns {string}
 */
export function csv(heads, rows) {
  const lines = [heads.map(cell).join(',')];
  for (const row of rows) {
    if (lines.length > MAX_ROWS) break;
    lines.push(row.map(cell).join(','));
  }
  return `${lines.join('\r\n')}\r\n`;
}
