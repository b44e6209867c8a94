// Where objects and edges are in the picture, and who is at a point. Pure: made from a graph and a layout, it knows no
// state, no screen and no colour.

const CELL_WIDTH = 424;
const CELL_HEIGHT = 240;
// Edges end on this part of a box's side, spread in the order of their other ends.
const SIDE = 0.72;

export class Scene {
  /**
   * @param {import('../store.js').Store['graph']} graph
   * @param {any} layout of the whole graph, or of the members alone
   * @param {ArrayLike<number> | null} [members] the objects that the layout places; null: all
   */
  constructor(graph, layout, members = null) {
    this.graph = graph;
    this.nodeWidth = layout.node_width;
    this.nodeHeight = layout.node_height;
    this.bands = layout.bands;
    this.width = layout.width;
    this.height = layout.height;
    /** Whether this is a part of the graph. */
    this.partial = members !== null;
    this.members = members ? Uint32Array.from(members) : Uint32Array.from({ length: graph.n }, (_, i) => i);
    this.x = members ? spread(graph.n, members, layout.x) : layout.x;
    this.y = members ? spread(graph.n, members, layout.y) : layout.y;
    this.box = { x0: 0, y0: 0, x1: layout.width, y1: layout.height };
    this.#index();
    this.#link();
  }

  /** @param {number} i @returns {boolean} whether the picture has this object */
  has(i) {
    return i >= 0 && i < this.x.length && !Number.isNaN(this.x[i]);
  }

  /** @param {Iterable<number>} some @returns {import('./camera.js').Box | null} the box around these objects */
  around(some) {
    const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
    for (const i of some) {
      if (!this.has(i)) continue;
      box.x0 = Math.min(box.x0, this.x[i] - this.nodeWidth / 2);
      box.x1 = Math.max(box.x1, this.x[i] + this.nodeWidth / 2);
      box.y0 = Math.min(box.y0, this.y[i] - this.nodeHeight / 2);
      box.y1 = Math.max(box.y1, this.y[i] + this.nodeHeight / 2);
    }
    return box.x0 <= box.x1 ? box : null;
  }

  /**
   * @param {number} x @param {number} y @param {number} [slack] how far beside a box still counts, in world units
   * @returns {number} the object there, -1: none
   */
  at(x, y, slack = 0) {
    let best = -1;
    let least = Infinity;
    this.within({ x0: x, y0: y, x1: x, y1: y }, slack, (i) => {
      const away = Math.max(Math.abs(this.x[i] - x) - this.nodeWidth / 2, Math.abs(this.y[i] - y) - this.nodeHeight / 2);
      if (away < least) [best, least] = [i, away];
    });
    return best;
  }

  /** @param {number} x @param {number} y @returns {number} the object whose middle is nearest, -1: there is none */
  nearest(x, y) {
    let best = -1;
    let least = Infinity;
    for (const i of this.members) {
      const away = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  /**
   * Visits every object that touches a box.
   * @param {import('./camera.js').Box} box @param {number} slack @param {(i: number) => void} visit
   */
  within(box, slack, visit) {
    const w = this.nodeWidth / 2 + slack;
    const h = this.nodeHeight / 2 + slack;
    const column = (x) => Math.min(Math.max(Math.floor(x / CELL_WIDTH), 0), this.columns - 1);
    const row = (y) => Math.min(Math.max(Math.floor(y / CELL_HEIGHT), 0), this.rows - 1);
    const [c0, c1, r0, r1] = [column(box.x0 - w), column(box.x1 + w), row(box.y0 - h), row(box.y1 + h)];
    for (let r = r0; r <= r1; r += 1) {
      for (let c = c0; c <= c1; c += 1) {
        const cell = r * this.columns + c;
        for (let at = this.starts[cell]; at < this.starts[cell + 1]; at += 1) {
          const i = this.cells[at];
          const [x, y] = [this.x[i], this.y[i]];
          if (x + w >= box.x0 && x - w <= box.x1 && y + h >= box.y0 && y - h <= box.y1) visit(i);
        }
      }
    }
  }

  /** A grid over the picture: the objects of each cell, one cell after the other. */
  #index() {
    this.columns = Math.max(1, Math.ceil(this.width / CELL_WIDTH));
    this.rows = Math.max(1, Math.ceil(this.height / CELL_HEIGHT));
    const cellOf = (i) => {
      const c = Math.min(Math.max(Math.floor(this.x[i] / CELL_WIDTH), 0), this.columns - 1);
      const r = Math.min(Math.max(Math.floor(this.y[i] / CELL_HEIGHT), 0), this.rows - 1);
      return r * this.columns + c;
    };
    this.starts = new Uint32Array(this.columns * this.rows + 1);
    for (const i of this.members) this.starts[cellOf(i) + 1] += 1;
    for (let cell = 1; cell < this.starts.length; cell += 1) this.starts[cell] += this.starts[cell - 1];
    const next = this.starts.slice();
    this.cells = new Uint32Array(this.members.length);
    for (const i of this.members) this.cells[next[cellOf(i)]++] = i;
  }

  /** The edges, child by child, each with the points on the sides of its boxes. */
  #link() {
    const { graph, x, y } = this;
    let count = 0;
    for (const i of this.members) for (const parent of graph.parents[i]) if (this.has(parent)) count += 1;
    this.from = new Uint32Array(count);
    this.to = new Uint32Array(count);
    for (const name of ['ax', 'ay', 'bx', 'by']) this[name] = new Float32Array(count);
    /** The first edge into each object; they follow each other. */
    this.into = new Map();
    const outOf = new Map();
    let e = 0;
    for (const i of this.members) {
      const first = e;
      for (const parent of graph.parents[i]) {
        if (!this.has(parent)) continue;
        this.from[e] = parent;
        this.to[e] = i;
        if (outOf.has(parent)) outOf.get(parent).push(e);
        else outOf.set(parent, [e]);
        e += 1;
      }
      if (e === first) continue;
      this.into.set(i, [first, e]);
      const edges = Array.from({ length: e - first }, (_, at) => first + at);
      this.#spread(edges, this.from, (edge, port) => {
        this.bx[edge] = x[i] - this.nodeWidth / 2;
        this.by[edge] = y[i] + port;
      });
    }
    for (const [i, edges] of outOf) {
      this.#spread(edges, this.to, (edge, port) => {
        this.ax[edge] = x[i] + this.nodeWidth / 2;
        this.ay[edge] = y[i] + port;
      });
    }
  }

  #spread(edges, others, put) {
    const { x, y } = this;
    edges.sort((a, b) => y[others[a]] - y[others[b]] || x[others[a]] - x[others[b]]);
    // A few edges stay near the middle, many take the whole side.
    const room = this.nodeHeight * SIDE * Math.min(1, edges.length / 6);
    edges.forEach((edge, at) => put(edge, edges.length === 1 ? 0 : room * (at / (edges.length - 1) - 0.5)));
  }
}

function spread(n, members, values) {
  const whole = new Float64Array(n).fill(NaN);
  for (let at = 0; at < members.length; at += 1) whole[members[at]] = values[at];
  return whole;
}
