// The pictures of a graph: the whole, and an object's ancestors and descendants alone, which the server lays out.

import { get } from '../api.js';
import { Scene } from './scene.js';
import { widened } from './widened.js';

export class Scenes {
  /** What kept an object from being shown alone, or null. @type {{object: string, why: string} | null} */
  failure = null;
  #graph = null;
  #whole = null;
  #focus = null;
  #loading = null;
  #arrived;
  #size;

  /**
   * @param {() => void} arrived what was on its way is here, or will not come
   * @param {() => import('./camera.js').Size} size of the stage
   */
  constructor(arrived, size) {
    this.#arrived = arrived;
    this.#size = size;
  }

  destroy() {
    this.#loading?.abort();
  }

  /** @returns {boolean} whether one is on its way */
  get loading() {
    return this.#loading !== null;
  }

  /**
   * @param {any} graph the store's @param {string | null} focus the object to show alone
   * @returns {Scene | null} null: it is on its way
   */
  of(graph, focus) {
    if (graph !== this.#graph) {
      this.#stop();
      [this.#graph, this.#whole, this.#focus, this.failure] = [graph, null, null, null];
    }
    if (focus === null) {
      this.#stop();
      this.failure = null;
      return this.#all();
    }
    if (this.#focus?.of === focus) return this.#focus.scene;
    if (this.#loading?.of !== focus) this.#load(graph, focus);
    return null;
  }

  #all() {
    this.#whole ??= new Scene(this.#graph, widened(this.#graph.layout, this.#size()));
    return this.#whole;
  }

  #stop() {
    this.#loading?.abort();
    this.#loading = null;
  }

  async #load(graph, focus) {
    this.#stop();
    const loading = Object.assign(new AbortController(), { of: focus });
    this.#loading = loading;
    try {
      const part = await get(`/runs/${encodeURIComponent(graph.runId)}/graph/${encodeURIComponent(focus)}`, { signal: loading.signal });
      if (this.#loading !== loading) return;
      this.#focus = { of: focus, scene: new Scene(graph, widened(part.layout, this.#size()), part.index) };
      this.failure = null;
    } catch (error) {
      if (this.#loading !== loading) return;
      // Better the whole, with a word why, than nothing.
      this.#focus = { of: focus, scene: this.#all() };
      this.failure = { object: focus, why: error.detail ?? String(error.message ?? error) };
    }
    this.#loading = null;
    this.#arrived();
  }
}
