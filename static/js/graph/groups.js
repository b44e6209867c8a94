// The graph with one box for the objects of each stage and column: what is readable of tens of thousands of objects.
// A few boxes, so they are elements, with links that keyboards and screen readers know. It knows nothing of single
// objects but their states, which it counts.

import { el, svg } from '../dom.js';
import { GLYPHS, number, STAGES, STATES } from '../format.js';
import { t } from '../i18n.js';
import { href } from '../router.js';
import { Viewpoint } from './viewpoint.js';

const [WIDTH, HEIGHT] = [240, 120];
// Below the one scale the words are too small; the other is to begin with then.
const [LEGIBLE, READABLE] = [0.72, 0.9];
const COUNT_MS = 200;
// Nobody reads more boxes than this; a graph with so many columns has few objects in each of them.
const MOST = 1_000;

export class Groups {
  #graph = null;
  #boxes = [];
  #box = { x0: 0, y0: 0, x1: 1, y1: 1 };
  #timer = 0;
  #shown = '';

  /**
   * @param {HTMLElement} stage
   * @param {{states: () => Uint8Array, moved: () => void, expand: (group: number) => void}} told
   */
  constructor(stage, { states, moved, expand }) {
    this.stage = stage;
    this.states = states;
    /** Where it is seen from. */
    this.view = new Viewpoint({ box: () => this.#box, closest: 1.5, moved: () => this.#place(moved) });
    this.expand = expand;
    this.lines = svg('svg', { class: 'graph-group-lines', 'aria-hidden': 'true' });
    this.list = el('ul', { class: 'graph-group-list', 'aria-label': t('graph.groups') });
    this.element = el('div', { class: 'graph-groups', hidden: true }, this.lines, this.list);
    stage.append(this.element);
  }

  destroy() {
    clearTimeout(this.#timer);
    this.view.destroy();
    this.element.remove();
  }

  /** @param {any} graph the store's; null: hides it */
  set(graph) {
    this.element.hidden = graph === null;
    if (graph === this.#graph) return;
    this.#graph = graph;
    this.#boxes = [];
    this.#shown = '';
    if (!graph) return;
    const { groups } = graph;
    const count = Math.min(groups.objects.length, MOST);
    for (let g = 0; g < count; g += 1) this.#boxes.push(this.#draw(groups, g));
    this.list.replaceChildren(...this.#boxes.map((box) => box.element));
    this.#link(groups, count);
    this.count();
    this.view.fits = true;
    this.resize();
  }

  #draw(groups, g) {
    const stage = STAGES[groups.stage[g]];
    const several = groups.stage.indexOf(groups.stage[g]) !== groups.stage.lastIndexOf(groups.stage[g]);
    const column = 1 + groups.stage.slice(0, g).filter((other) => other === groups.stage[g]).length;
    const bar = STATES.map((state) => el('span', { class: 'graph-group-part', dataset: { state } }));
    const counts = STATES.map((state) => el('span', { class: 'graph-group-count', dataset: { state }, title: t(`state.${state}`) },
      el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[state] }), el('span', { class: 'visually-hidden', text: t(`state.${state}`) }), el('b')));
    const name = several ? t('graph.group', { stage: t(`stage.${stage}`), column }) : t(`stage.${stage}`);
    const element = el('li', { class: 'graph-group', dataset: { stage, group: g } },
      el('div', { class: 'graph-group-head' },
        el('span', { class: 'graph-group-name', text: name, title: name }),
        el('span', { class: 'graph-group-objects', title: t('graph.objects', { n: groups.objects[g] }), text: number(groups.objects[g]) })),
      el('div', { class: 'graph-group-bar', 'aria-hidden': 'true' }, bar),
      el('div', { class: 'graph-group-counts' }, counts),
      el('div', { class: 'graph-group-ways', dataset: { apart: '' } },
        el('button', { type: 'button', class: 'quiet', text: t('graph.expand'), 'aria-label': t('graph.expand.label', { name }), on: { click: () => this.expand(g) } }),
        el('a', { class: 'button quiet', href: href({ view: 'table', params: { stage } }), text: t('graph.toTable'), 'aria-label': t('graph.toTable.label', { stage: t(`stage.${stage}`) }) })));
    element.style.left = `${groups.x[g] - WIDTH / 2}px`;
    element.style.top = `${groups.y[g] - HEIGHT / 2}px`;
    return { element, bar, counts };
  }

  /** Curves between the boxes with the number of dependencies; over the boxes that lie between. */
  #link(groups, count) {
    const columns = [...new Set(groups.x)].sort((a, b) => a - b);
    const place = new Map(columns.map((x, at) => [x, at]));
    const most = Math.max(1, ...groups.edges.map((edge) => edge[2]));
    let top = 0;
    const parts = groups.edges.filter(([from, to]) => from < count && to < count).map(([from, to, n]) => {
      const over = Math.max(0, Math.abs(place.get(groups.x[to]) - place.get(groups.x[from])) - 1);
      const lift = over > 0 ? 48 + 44 * over : 0;
      const [ax, bx] = [groups.x[from] + WIDTH / 2, groups.x[to] - WIDTH / 2];
      const rise = over > 0 ? 28 : 0;
      const [ay, by] = [groups.y[from] - rise, groups.y[to] - rise];
      const bend = over > 0 ? 56 : Math.max(40, Math.abs(bx - ax) / 2);
      const [mx, my] = [(ax + bx) / 2, (ay + by) / 2 - lift * 0.75];
      top = Math.min(top, my - 24);
      const text = number(n);
      const half = 8 + 4 * text.length;
      return svg('g', null,
        svg('path', { class: 'graph-group-line', d: `M${ax} ${ay}C${ax + bend} ${ay - lift} ${bx - bend} ${by - lift} ${bx} ${by}`, 'stroke-width': (1 + (4 * Math.log1p(n)) / Math.log1p(most)).toFixed(1) }),
        svg('rect', { class: 'graph-group-label', x: mx - half, y: my - 11, width: 2 * half, height: 22, rx: 11 }),
        svg('text', { class: 'graph-group-number', x: mx, y: my + 4, 'text-anchor': 'middle' }, text, svg('title', null, t('graph.dependencies', { n }))));
    });
    this.lines.replaceChildren(...parts);
    this.#box = { x0: 0, y0: top, x1: groups.width, y1: groups.height };
  }

  /** The states are others: counts them, a few times a second. */
  changed() {
    if (this.#timer === 0 && this.#graph) {
      this.#timer = setTimeout(() => {
        this.#timer = 0;
        this.count();
      }, COUNT_MS);
    }
  }

  count() {
    const graph = this.#graph;
    if (!graph) return;
    const states = this.states();
    const totals = new Uint32Array(graph.groups.objects.length * STATES.length);
    for (let i = 0; i < states.length; i += 1) totals[graph.groupOf[i] * STATES.length + states[i]] += 1;
    this.#boxes.forEach(({ bar, counts }, g) => {
      STATES.forEach((_, state) => {
        const n = totals[g * STATES.length + state];
        const text = number(n);
        const value = counts[state].lastChild;
        if (value.textContent === text) return;
        value.textContent = text;
        counts[state].hidden = n === 0;
        bar[state].hidden = n === 0;
        bar[state].style.flexGrow = String(n);
      });
    });
  }

  /** @param {number} group the one of the selected object, -1: none */
  mark(group) {
    this.#boxes.forEach((box, g) => box.element.classList.toggle('is-marked', g === group));
  }

  /** @param {number} x @param {number} y on the stage @returns {number} the group there, -1: none */
  at(x, y) {
    const { left, top } = this.stage.getBoundingClientRect();
    const box = document.elementFromPoint(x + left, y + top)?.closest('.graph-group');
    return box ? Number(box.dataset.group) : -1;
  }

  /** The stage has another size. */
  resize() {
    const { view } = this;
    view.resize({ width: this.stage.clientWidth, height: this.stage.clientHeight });
    // Everything, where it stays legible; else its beginning.
    if (!this.#graph || !view.fits || view.pose.k >= LEGIBLE) return;
    const { height } = view.size;
    view.put({ x: this.#box.x0 + 48, y: (this.#box.y0 + this.#box.y1 - height / READABLE) / 2, k: READABLE });
  }

  #place(moved) {
    const { x, y, k } = this.view.pose;
    const transform = `translate(${-x * k}px, ${-y * k}px) scale(${k})`;
    if (transform !== this.#shown) this.element.style.transform = this.#shown = transform;
    moved();
  }

  /** @returns {{stage: number, x0: number, x1: number}[]} the bands of the stages */
  get bands() {
    const bands = new Map();
    const { groups } = this.#graph;
    const gap = groups.x.length > 1 ? groups.width / new Set(groups.x).size - WIDTH : 140;
    groups.stage.forEach((stage, g) => {
      const [x0, x1] = [groups.x[g] - (WIDTH + gap) / 2, groups.x[g] + (WIDTH + gap) / 2];
      const band = bands.get(stage);
      bands.set(stage, band ? { stage, x0: Math.min(band.x0, x0), x1: Math.max(band.x1, x1) } : { stage, x0, x1 });
    });
    return [...bands.values()];
  }
}
