// The canvases of the graph and when they are painted: edges, objects, and what comes and goes above them. A state that
// changes repaints its object's rectangle. While the picture moves, what is painted is moved as it is, and painted anew
// when it rests; the edges are painted a part a frame. It knows no address, no toolbar and no server.

import { el } from '../dom.js';
import { colours } from '../theme.js';
import { covers, same, seen, shift } from './camera.js';
import { countIn, paint, sorted } from './edges.js';
import { DUST, frameOf, LINE, levelOf } from './frame.js';
import { Nodes } from './nodes.js';
import { paintOver, paintUnder } from './overlay.js';
import { Viewpoint } from './viewpoint.js';

const MARGIN = 128;
// All of a small graph on a large screen is no larger than this.
const LARGEST = 1.5;
const REST_MS = 100;
const LIVELY_MS = 90;
// Painted while moving where there are no more than these.
const FEW_WORDS = 160;
const FEW_MARKS = 900;
const FEW_EDGES = 150;
// Counting edges beyond this changes nothing.
const CROWD = 6_000;
// No canvas larger than this, in pixels: a 4K screen has 8 million.
const MOST_PIXELS = 14e6;
// Around the stage there is more to paint only where that is cheap.
const ROOMY_PIXELS = 3e6;
// Objects of a picture this small that change are all painted anew: not more often than this.
const DUST_MS = 250;

export class Picture {
  /** @type {import('./scene.js').Scene | null} */
  scene = null;
  #states;
  #attempt;
  #signs;
  #dpr = 1;
  #wantedDpr = 0;
  #margin = MARGIN;
  #nodes = new Nodes();
  #nodeLayer = { canvas: canvas('graph-nodes'), pose: null, at: 0 };
  #edgeLayers = [canvas('graph-edges'), canvas('graph-edges')];
  #edgePose = null;
  #edgeJob = null;
  #edgesStale = true;
  #edgesAt = 0;
  #edgeShare = 600;
  #underCanvas = canvas('graph-under');
  #under = null;
  #overCanvas = canvas('graph-over');
  #edges = null;
  #look = { dim: null, critical: null };
  #over = { hovered: -1, selected: -1, cursor: -1, match: -1 };
  #changed = new Set();
  #allNodes = true;
  #overStale = true;
  #overPose = null;
  #overAt = 0;
  #moves = false;
  #frame = 0;
  #timer = 0;
  #movedAt = 0;
  #lastFrame = 0;
  #cost = 0; // how long a frame is that paints all objects, ms
  #paintedAll = false;
  #wordless = new Set(); // painted but for their words: those come in the next frames
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  /**
   * @param {HTMLElement} stage
   * @param {{states: () => Uint8Array, attempt: (i: number) => number, signs: (i: number) => string, live: () => boolean, moved: () => void}} told `moved`: it is
   *   seen from elsewhere
   */
  constructor(stage, { states, attempt, signs, live, moved }) {
    this.stage = stage;
    this.#states = states;
    this.#attempt = attempt;
    this.#signs = signs;
    this.live = live;
    /** Where it is seen from. */
    this.view = new Viewpoint({ box: () => this.scene?.box ?? null, largest: LARGEST, moved: () => this.#move(moved) });
    this.#edgeLayers[1].classList.add('is-hidden');
    this.element = el('div', { class: 'graph-layers', 'aria-hidden': 'true' }, ...this.#edgeLayers, this.#underCanvas, this.#nodeLayer.canvas, this.#overCanvas);
    stage.append(this.element);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.view.destroy();
    this.element.remove();
  }

  // ---- what is shown ----

  /** @param {import('./scene.js').Scene | null} scene */
  setScene(scene) {
    this.scene = scene;
    this.#nodes.forget();
    this.#changed.clear();
    this.#over = { hovered: -1, selected: -1, cursor: -1, match: -1 };
    this.#edges = scene ? sorted(scene, () => 0) : null;
    this.view.stop();
    this.repaint();
  }

  /**
   * How objects and edges are shown.
   * @param {{dim: Uint8Array | null, critical: Set<number> | null, kindOf: (from: number, to: number) => number}} look
   */
  setLook({ dim, critical, kindOf }) {
    this.#look = { dim, critical };
    this.#edges = this.scene ? sorted(this.scene, kindOf) : null;
    this.#edgesStale = true;
    this.#allNodes = true;
    this.#wake();
  }

  /** @param {Partial<{hovered: number, selected: number, cursor: number, match: number}>} over */
  setOver(over) {
    if (Object.entries(over).every(([name, i]) => this.#over[name] === i)) return;
    Object.assign(this.#over, over);
    this.#overStale = true;
    this.#wake();
  }

  get over() {
    return this.#over;
  }

  /** @param {ArrayLike<number> | null} changed objects of which something changed; null: all */
  changed(changed) {
    if (changed === null) this.#allNodes = true;
    else for (let at = 0; at < changed.length; at += 1) this.#changed.add(changed[at]);
    if (!this.#moves) this.#overStale = true; // one of them may run now
    this.#wake();
  }

  /** Everything anew: another theme, another size. */
  repaint() {
    this.#nodes.restyle();
    this.#under = null;
    this.#allNodes = true;
    this.#edgesStale = true;
    this.#overStale = true;
    this.#nodeLayer.pose = null;
    this.#wake();
  }

  // ---- the stage ----

  /** The stage has another size, or the screen another density. */
  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const wanted = Math.min(window.devicePixelRatio || 1, 3);
    if (width === 0 || height === 0) return;
    if (width === this.view.size.width && height === this.view.size.height && wanted === this.#wantedDpr) return;
    this.#wantedDpr = wanted;
    const pixels = (dpr, margin) => (width + 2 * margin) * (height + 2 * margin) * dpr * dpr;
    this.#margin = pixels(wanted, MARGIN) <= ROOMY_PIXELS ? MARGIN : 0;
    this.#dpr = Math.min(wanted, Math.max(1, Math.sqrt(MOST_PIXELS / pixels(1, this.#margin))));
    const measure = (layer, margin) => {
      const [wide, high] = [width + 2 * margin, height + 2 * margin];
      [layer.width, layer.height] = [Math.round(wide * this.#dpr), Math.round(high * this.#dpr)];
      [layer.style.width, layer.style.height] = [`${wide}px`, `${high}px`];
    };
    for (const layer of [...this.#edgeLayers, this.#nodeLayer.canvas]) measure(layer, this.#margin);
    for (const layer of [this.#underCanvas, this.#overCanvas]) measure(layer, 0);
    this.#edgePose = null;
    this.repaint();
    this.view.resize({ width, height });
  }

  /** Brings an object on the stage where it is not yet. @param {number} i @param {number} [least] the scale to have at least */
  reveal(i, least = 0) {
    if (this.scene?.has(i)) this.view.reveal(this.scene.x[i], this.scene.y[i], least);
  }

  #move(moved) {
    this.#movedAt = performance.now();
    this.#wake();
    moved();
  }

  // ---- when it is painted ----

  #wake() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#paint(now));
  }

  #wakeIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), ms);
  }

  #paint(now) {
    this.#frame = 0;
    if (!this.scene || this.view.size.width <= 1) return;
    this.#pace(now);
    const moving = this.view.gliding || performance.now() - this.#movedAt < REST_MS;
    const later = [this.#paintNodes(now, moving), this.#paintEdges(moving), this.#paintOver(now)].filter((ms) => ms !== null);
    if (later.includes(0)) this.#wake();
    else if (later.length > 0) this.#wakeIn(Math.min(...later));
  }

  /** Learns from how long the last frame took what the next one may draw. */
  #pace(now) {
    const took = now - this.#lastFrame;
    this.#lastFrame = now;
    if (this.#paintedAll && took < 2_000) this.#cost = took;
    this.#paintedAll = false;
    if (!this.#edgeJob || took > 1_000) return;
    if (took > 45) this.#edgeShare = Math.max(150, this.#edgeShare * 0.6);
    else if (took < 26) this.#edgeShare = Math.min(3_000, this.#edgeShare * 1.3);
  }

  /** @returns {number | null} in how many ms it wants to be called again */
  #paintNodes(now, moving) {
    const layer = this.#nodeLayer;
    const { scene } = this;
    const { pose, size } = this.view;
    const ctx = layer.canvas.getContext('2d');
    const states = this.#states();
    const look = { ...this.#look, colours: colours(), attempt: this.#attempt, signs: this.#signs };
    const first = layer.pose === null;
    const elsewhere = first || !same(layer.pose, pose);
    const wait = !first && elsewhere && this.#putOff(layer.pose, now - layer.at, moving) && !this.#few(scene, pose);
    if (first || (elsewhere && !wait)) layer.pose = pose;
    const frame = frameOf(layer.pose, size, this.#margin, this.#dpr);
    const tiny = levelOf(frame, scene.nodeHeight) === DUST;
    let early = false;
    if (first || (elsewhere && !wait) || this.#allNodes) {
      this.#wordless = new Set(this.#nodes.all(ctx, frame, scene, states, look, FEW_WORDS));
      layer.at = now;
      this.#paintedAll = true;
      this.#allNodes = false;
      this.#changed.clear();
    } else if (this.#changed.size > 0) {
      early = tiny && now - layer.at < DUST_MS;
      if (!early) {
        this.#nodes.some(ctx, frame, scene, states, look, this.#changed);
        for (const i of this.#changed) this.#wordless.delete(i);
        if (tiny) layer.at = now;
        this.#changed.clear();
      }
    }
    const rest = this.#paintedAll ? [] : [...this.#wordless].slice(0, FEW_WORDS);
    if (rest.length > 0) this.#nodes.words(ctx, frame, scene, look, rest);
    for (const i of rest) this.#wordless.delete(i);
    place(layer.canvas, layer.pose, pose, this.#margin);
    if (this.#wordless.size > 0) return 0;
    if (early) return DUST_MS;
    return wait ? REST_MS : null;
  }

  /** Whether to move what is painted for now: it still covers the stage, or was painted only just before. */
  #putOff(painted, age, moving) {
    if (!moving) return false;
    // Painting shall not take more than a fifth of the time, however slow it is here.
    return age < Math.max(covers(painted, this.view.pose, this.view.size, this.#margin) ? 400 : 140, 5 * this.#cost);
  }

  #few(scene, pose) {
    let count = 0;
    scene.within(seen(pose, this.view.size), 0, () => { count += 1; });
    const frame = frameOf(pose, this.view.size, 0, 1);
    return count <= (levelOf(frame, scene.nodeHeight) >= LINE ? FEW_WORDS : FEW_MARKS);
  }

  /** @returns {number | null} */
  #paintEdges(moving) {
    const { scene } = this;
    const { pose, size } = this.view;
    if (!this.#edges) return null;
    const elsewhere = this.#edgePose === null || !same(this.#edgePose, pose);
    const [front, back] = this.#edgeLayers;
    let later = null;
    if (this.#edgesStale || elsewhere) {
      const area = seen(pose, size, this.#margin);
      const crowd = Math.max(1, countIn(scene, this.#edges.order, area, CROWD));
      if (crowd <= FEW_EDGES) {
        this.#edgeJob = null;
        this.#paintSome(front, frameOf(pose, size, this.#margin, this.#dpr), 0, Infinity, crowd);
        this.#edgePose = pose;
        this.#edgesStale = false;
      } else if (!this.#edgeJob || this.#edgesStale) {
        const putOff = !this.#edgesStale && moving && this.#edgePose !== null;
        const recent = performance.now() - this.#edgesAt < Math.max(500, 10 * this.#cost);
        if (putOff && (recent || covers(this.#edgePose, pose, size, this.#margin))) later = REST_MS;
        else {
          // The first ones are seen as they come; after that, the old ones stay until the new ones are all there.
          const onto = this.#edgePose === null ? front : back;
          this.#edgeJob = { pose, onto, at: 0, edges: this.#edges, crowd };
          clear(onto);
          this.#edgesStale = false;
        }
      }
    }
    if (this.#edgeJob) {
      const job = this.#edgeJob;
      job.at = this.#paintSome(job.onto, frameOf(job.pose, size, this.#margin, this.#dpr), job.at, this.#edgeShare, job.crowd);
      if (job.at >= job.edges.order.length) {
        if (job.onto === back) this.#swap();
        this.#edgePose = job.pose;
        this.#edgesAt = performance.now();
        this.#edgeJob = null;
        later = same(job.pose, pose) ? null : 0;
      } else {
        if (job.onto === front) place(front, job.pose, pose, this.#margin);
        later = 0;
      }
    }
    if (this.#edgePose) place(this.#edgeLayers[0], this.#edgePose, pose, this.#margin);
    return later;
  }

  /** Only when it is another object or another place: what moves above must not draw these edges again and again. */
  #paintUnder(frame) {
    const { scene } = this;
    const { hovered } = this.#over;
    const before = this.#under;
    if (before && before.scene === scene && before.hovered === hovered && (hovered < 0 || same(before.frame, frame))) return;
    this.#under = { scene, hovered, frame };
    this.#underCanvas.hidden = hovered < 0;
    if (hovered >= 0) paintUnder(this.#underCanvas.getContext('2d'), frame, scene, colours(), hovered);
  }

  #paintSome(layer, frame, at, most, crowd) {
    const ctx = layer.getContext('2d');
    if (at === 0) clear(layer);
    return paint(ctx, frame, this.scene, this.#edges, colours(), at, most, crowd);
  }

  #swap() {
    const [front, back] = this.#edgeLayers;
    this.#edgeLayers = [back, front];
    back.classList.remove('is-hidden');
    front.classList.add('is-hidden');
  }

  /** @returns {number | null} */
  #paintOver(now) {
    const { pose, size } = this.view;
    const lively = !this.#still.matches && this.live() ? now : null;
    const due = this.#moves && now - this.#overAt >= LIVELY_MS - 5;
    if (!this.#overStale && !due && this.#overPose !== null && same(this.#overPose, pose)) {
      return this.#moves ? LIVELY_MS : null;
    }
    const frame = frameOf(pose, size, 0, this.#dpr);
    this.#paintUnder(frame);
    const over = { ...this.#over, lively, dim: this.#look.dim };
    this.#moves = paintOver(this.#overCanvas.getContext('2d'), frame, this.scene, this.#states(), colours(), over);
    // A canvas with nothing on it still costs when the page is put together without a graphics card.
    this.#overCanvas.hidden = !this.#moves && Object.values(this.#over).every((i) => i < 0);
    [this.#overStale, this.#overPose, this.#overAt] = [false, pose, now];
    return this.#moves ? LIVELY_MS : null;
  }
}

function canvas(name) {
  return el('canvas', { class: name });
}

function clear(layer) {
  layer.getContext('2d').clearRect(0, 0, layer.width, layer.height);
}

function place(layer, painted, pose, margin) {
  const { x, y, scale } = shift(painted, pose, margin);
  const transform = `translate(${x}px, ${y}px) scale(${scale})`;
  if (layer.style.transform !== transform) layer.style.transform = transform;
}
