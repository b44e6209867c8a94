// A grid of very many rows, of which those in sight are elements: constant row height, one stop for the Tab key, arrows
// inside. The active row is an item, not a place: it stays active when the order changes. Knows nothing of what the
// rows mean: columns say their texts.

import { windowOf } from './order.js';
import { el } from '../dom.js';
import { t } from '../i18n.js';

const ROW = 32;
const SPARE = 8;
let grids = 0;

export class Grid {
  items = new Uint32Array(0);
  active = null; // an item
  #columns = [];
  #drawn = new Map(); // item → {row, cells, texts, at}
  #frame = 0;
  #selected = null;
  #fixed;
  #id;

  /**
   * @param {{label:string, decorate:(row:HTMLElement, item:number)=>void, describe:(cell:HTMLElement, key:string, item:number)=>void,
   *   open:(item:number)=>void, sort:(key:string)=>void}} of  `decorate` dresses a row at each drawing
   */
  constructor(of) {
    this.of = of;
    grids += 1;
    this.#id = `grid-${grids}`;
    this.head = el('div', { role: 'row', class: 'grid-row grid-head-row', 'aria-rowindex': '1' });
    this.body = el('div', { role: 'rowgroup', class: 'grid-body' });
    this.grid = el('div', { role: 'grid', class: 'grid', tabindex: '0', 'aria-label': of.label, on: { keydown: (event) => this.#key(event), focus: () => this.#focused(), click: (event) => this.#click(event) } },
      el('div', { role: 'rowgroup', class: 'grid-head' }, this.head), this.body);
    this.element = el('div', { class: 'grid-scroll', on: { scroll: () => this.draw() } }, this.grid);
    this.#fixed = new ResizeObserver(() => this.draw());
    this.#fixed.observe(this.element);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    this.#fixed.disconnect();
  }

  /** @param {import('./columns.js').Column[]} columns @param {{key:string, descending:boolean}|null} sort */
  setColumns(columns, sort) {
    const focused = document.activeElement?.closest?.('.grid-head-row') === this.head ? document.activeElement.dataset.key : null;
    this.#columns = columns;
    this.grid.style.setProperty('--tracks', columns.map((column) => column.width).join(' '));
    this.grid.setAttribute('aria-colcount', String(columns.length));
    this.head.replaceChildren(...columns.map((column, at) => {
      const sorted = sort?.key === column.key ? (sort.descending ? 'descending' : 'ascending') : null;
      return el('div', { role: 'columnheader', class: column.number ? 'grid-cell number' : 'grid-cell', dataset: { key: column.key }, 'aria-colindex': String(at + 1), 'aria-sort': sorted ?? 'none' },
        el('button', { type: 'button', class: 'grid-sort', title: t('table.sortBy', { column: column.head }), dataset: { key: column.key }, on: { click: () => this.of.sort(column.key) } },
          el('span', { class: 'grid-sort-text', text: column.head }),
          el('span', { class: 'grid-sort-mark', 'aria-hidden': 'true', text: sorted ? (sorted === 'ascending' ? '▲' : '▼') : '' })));
    }));
    if (focused !== null) [...this.head.querySelectorAll('button')].find((button) => button.dataset.key === focused)?.focus();
    this.#drawn.clear();
    this.body.replaceChildren();
    this.draw();
  }

  /** @param {Uint32Array} items  in the order shown */
  setItems(items) {
    this.items = items;
    this.grid.setAttribute('aria-rowcount', String(items.length + 1));
    this.body.style.height = `${items.length * ROW}px`;
    this.draw();
  }

  /** @param {number|null} item  the one whose panel is open */
  select(item) {
    if (this.#selected === item) return;
    this.#selected = item;
    if (item !== null) this.active = item;
    this.draw();
  }

  /** Draws what is in sight, in the next frame. */
  draw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.#drawNow(); });
  }

  /** Brings an item into the middle. @param {number} item */
  centre(item) {
    const at = this.items.indexOf(item);
    if (at >= 0) this.element.scrollTop = at * ROW - (this.element.clientHeight - ROW) / 2;
  }

  /** Brings an item into sight. @param {number} item */
  reveal(item) {
    const at = this.items.indexOf(item);
    if (at < 0) return;
    const head = this.head.offsetHeight;
    const [top, bottom] = [at * ROW, (at + 1) * ROW];
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (bottom + head > scrollTop + clientHeight) this.element.scrollTop = bottom + head - clientHeight;
  }

  /** The items that are drawn. @returns {Iterable<number>} */
  inSight() {
    return this.#drawn.keys();
  }

  #drawNow() {
    const { scrollTop, clientHeight } = this.element;
    const { from, to } = windowOf({ top: scrollTop, height: clientHeight, row: ROW, count: this.items.length, spare: SPARE });
    const wanted = new Map();
    for (let at = from; at < to; at += 1) wanted.set(this.items[at], at);
    const free = [];
    for (const [item, drawn] of this.#drawn) {
      if (!wanted.has(item)) {
        free.push(drawn);
        this.#drawn.delete(item);
      }
    }
    for (const [item, at] of wanted) {
      let drawn = this.#drawn.get(item);
      if (!drawn) {
        drawn = free.pop() ?? this.#row();
        this.#drawn.set(item, drawn);
        if (!drawn.row.isConnected) this.body.append(drawn.row);
      }
      this.#fill(drawn, item, at);
    }
    for (const drawn of free) drawn.row.remove();
    const active = this.active === null ? null : this.#drawn.get(this.active);
    if (active) this.grid.setAttribute('aria-activedescendant', active.row.id);
    else this.grid.removeAttribute('aria-activedescendant');
  }

  #row() {
    const cells = this.#columns.map((column, at) => el('div', { role: 'gridcell', class: column.number ? 'grid-cell number' : 'grid-cell', dataset: { key: column.key }, 'aria-colindex': String(at + 1) }));
    return { row: el('div', { role: 'row', class: 'grid-row' }, ...cells), cells, texts: new Array(cells.length).fill(null), at: -1, item: -1 };
  }

  #fill(drawn, item, at) {
    const { row, cells, texts } = drawn;
    if (drawn.at !== at) {
      drawn.at = at;
      row.style.transform = `translateY(${at * ROW}px)`;
      row.setAttribute('aria-rowindex', String(at + 2));
    }
    if (drawn.item !== item) {
      drawn.item = item;
      row.id = `${this.#id}-${item}`;
      row.dataset.item = String(item);
    }
    this.#columns.forEach((column, k) => {
      const text = column.text(item);
      const title = column.title?.(item) ?? text;
      const shows = `${text}\u0000${title}`;
      if (texts[k] !== shows) {
        texts[k] = shows;
        cells[k].textContent = text;
        cells[k].title = title;
        this.of.describe(cells[k], column.key, item);
      }
    });
    row.classList.toggle('active', item === this.active);
    row.setAttribute('aria-selected', String(item === this.#selected));
    this.of.decorate(row, item);
  }

  #click(event) {
    const row = event.target.closest('.grid-row[data-item]');
    if (!row || !getSelection().isCollapsed) return;
    this.active = Number(row.dataset.item);
    this.draw();
    this.of.open(this.active);
  }

  /** There is always a row that the keys move on from. */
  #focused() {
    if (this.items.length === 0 || (this.active !== null && this.items.includes(this.active))) return;
    this.active = this.items[Math.min(this.items.length - 1, Math.ceil(this.element.scrollTop / ROW))];
    this.draw();
  }

  #key(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((this.element.clientHeight - this.head.offsetHeight) / ROW) - 1);
    const last = this.items.length - 1;
    const now = this.active === null ? -1 : this.items.indexOf(this.active);
    const first = Math.min(last, Math.ceil(this.element.scrollTop / ROW));
    const moves = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: last };
    if (event.key === 'Enter' && now >= 0) this.of.open(this.active);
    else if (event.key in moves && last >= 0) this.#move(now < 0 && !['Home', 'End'].includes(event.key) ? first : Math.max(0, Math.min(last, moves[event.key])));
    else return;
    event.preventDefault();
  }

  #move(at) {
    this.active = this.items[at];
    this.reveal(this.active);
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#drawNow(); // at once: the active row must be there before it is announced
  }
}
