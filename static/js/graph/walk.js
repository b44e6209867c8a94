// What the keys do on the stage: they lead from object to object, and say where they are; without an object they move
// the picture.

import { select } from '../router.js';
import { toWorld } from './camera.js';
import { spoken } from './describe.js';
import { step } from './steps.js';

const PAN_PX = 80;
/** The scale from which ids are read. */
export const READABLE = 0.5;

export class Walk {
  /**
   * @param {object} of
   * @param {import('./picture.js').Picture} of.picture
   * @param {import('../store.js').Store} of.store
   * @param {HTMLElement} of.said where it is said aloud
   * @param {() => import('./viewpoint.js').Viewpoint} of.camera of what is on the stage
   * @param {() => boolean} of.objects whether that is single objects
   * @param {() => number} of.first the object to begin with, -1: whichever is near
   */
  constructor({ picture, store, said, camera, objects, first }) {
    Object.assign(this, { picture, store, said, camera, objects, first });
  }

  /** @param {'left' | 'right' | 'up' | 'down'} direction @param {boolean} far moves the picture in any case */
  arrow(direction, far) {
    const at = this.#at();
    if (!this.objects() || at < 0 || far) {
      const by = { left: [PAN_PX, 0], right: [-PAN_PX, 0], up: [0, PAN_PX], down: [0, -PAN_PX] }[direction];
      this.camera().pan(...by, true);
      return;
    }
    this.#goTo(step(this.picture.scene, at, direction));
  }

  /** Opens the object that the keys are at; where they are at none, goes to one. */
  enter() {
    const { scene, view } = this.picture;
    if (!this.objects() || !scene) return;
    const at = this.#at();
    if (at >= 0) {
      view.hold();
      select(this.store.graph.ids[at]);
      return;
    }
    const { pose, size, fits } = view;
    const wanted = this.first();
    const near = wanted >= 0 ? wanted : scene.nearest(...toWorld(pose, fits ? 0 : size.width / 2, fits ? 0 : size.height / 2));
    if (near >= 0) this.#goTo(near);
  }

  /** @returns {boolean} whether there was an object to leave */
  escape() {
    if (this.picture.over.cursor < 0) return false;
    this.picture.setOver({ cursor: -1, hovered: -1 });
    this.said.textContent = '';
    return true;
  }

  /** The object that the keys went to, else the selected one. */
  #at() {
    const { scene, over } = this.picture;
    if (!scene) return -1;
    if (scene.has(over.cursor)) return over.cursor;
    return scene.has(over.selected) ? over.selected : -1;
  }

  #goTo(i) {
    this.picture.setOver({ cursor: i, hovered: i });
    this.picture.reveal(i, READABLE);
    this.said.textContent = spoken(this.store, i);
  }
}
