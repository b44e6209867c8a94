// The graph of a run: what depends on what, and the state of each object. Puts the view together: the row above, the
// stage with the picture or the groups, the keys and the pointer; and shows what the address asks for.

import { signsOf } from '../badges.js';
import { el } from '../dom.js';
import { Errors } from '../errors.js';
import { t } from '../i18n.js';
import { go, select } from '../router.js';
import { onTheme } from '../theme.js';
import { absence } from './absence.js';
import { Bands } from './bands.js';
import { toWorld } from './camera.js';
import { spoken } from './describe.js';
import { failures } from './failures.js';
import { Groups } from './groups.js';
import * as keyboard from './keyboard.js';
import { legend } from './legend.js';
import { loaded, look, troubled } from './look.js';
import { Minimap } from './minimap.js';
import { changed, pressed, shown } from './params.js';
import { Picture } from './picture.js';
import * as pointer from './pointer.js';
import { Scenes } from './scenes.js';
import { Matches } from './search.js';
import { toolbar, zoomButtons } from './toolbar.js';
import { Tooltip } from './tooltip.js';
import { READABLE, Walk } from './walk.js';

// The scale from which names are read.
const NAMED = 0.8;
const TROUBLE_MS = 250;
// Near a small mark is on it.
const SLACK_PX = 4;

/**
 * @param {HTMLElement} root
 * @param {{store: import('../store.js').Store, route: import('../router.js').Route}} page
 */
export function mount(root, { store, route }) {
  return new GraphView(root, store, route);
}

class GraphView {
  #offs = [];
  #asked = null; // what the address asks for
  #scenes = new Scenes(() => this.#show(), () => ({ width: this.stage.clientWidth, height: this.stage.clientHeight }));
  #matches = new Matches();
  #trouble = null;
  #troubleTimer = 0;
  #jumpTo = -1;

  constructor(root, store, route) {
    this.root = root;
    this.store = store;
    this.route = route;
    root.classList.add('graph-view');
    this.errors = new Errors({ run: () => store.run?.run_id ?? null, graph: () => store.graph, found: () => this.#toldWhy() });
    this.failures = failures(store, this.errors);
    const bar = (this.bar = toolbar({
      search: (q) => this.#search(q),
      next: (by) => this.#next(by),
      toggle: (name) => this.#toggle(name),
    }, this.failures.element));
    this.stage = el('div', { class: 'graph-stage', tabindex: '0' });
    this.bands = new Bands(this.stage);
    this.picture = new Picture(this.stage, {
      states: () => store.states,
      attempt: (i) => store.rowAt(i)?.attempt ?? 1,
      signs: (i) => signsOf(store.badges(i)),
      live: () => store.time === null && ['running', 'paused'].includes(store.run?.state),
      moved: () => this.#moved(),
    });
    this.groups = new Groups(this.stage, { states: () => store.states, moved: () => this.#moved(), expand: (group) => this.#expand(group) });
    this.legend = legend();
    this.minimap = new Minimap(this.stage, () => store.states, (x, y) => this.picture.view.centre(x, y, { glide: false }));
    this.tooltip = new Tooltip(this.stage, store, this.errors);
    this.said = el('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.empty = el('p', { class: 'graph-empty', role: 'status', hidden: true });
    this.walk = new Walk({
      picture: this.picture, store, said: this.said, camera: () => this.#camera, objects: () => !this.#asked?.collapsed, first: () => this.#matches.all?.[0] ?? -1,
    });
    this.stage.append(this.legend.element, zoomButtons(() => this.#camera), this.empty);
    root.append(bar.element, this.stage, this.said);
    this.#listen();
    this.update();
  }

  /** The address is another, or at the beginning. */
  update() {
    this.#show();
  }

  destroy() {
    for (const off of this.#offs) off();
    clearTimeout(this.#troubleTimer);
    for (const part of [this.bar, this.errors, this.#scenes, this.picture, this.groups, this.minimap, this.tooltip, this.bands]) part.destroy();
    this.root.replaceChildren();
    this.root.classList.remove('graph-view');
  }

  #listen() {
    const { store, stage, picture } = this;
    const size = new ResizeObserver(() => this.#resized());
    size.observe(stage);
    const search = () => this.bar.focusSearch();
    this.root.addEventListener('korch:search', search);
    this.#offs.push(
      () => size.disconnect(),
      () => this.root.removeEventListener('korch:search', search),
      store.on('graph', () => {
        this.errors.clear();
        this.#show();
      }),
      store.on('run', () => this.#ranOn()),
      store.on('time', () => picture.changed([])),
      store.on('states', ({ changed: some }) => this.#changed(some)),
      onTheme(() => {
        picture.repaint();
        this.minimap.restyle();
        this.legend.restyle();
      }),
      pointer.listen(stage, {
        pan: (dx, dy) => this.#camera.pan(dx, dy),
        zoom: (factor, x, y) => this.#camera.zoom(factor, x, y),
        click: (x, y) => this.#click(x, y),
        twice: (x, y) => this.#twice(x, y),
        hover: (x, y, type) => this.#hover(x, y, type),
        leave: () => this.#unhover(),
      }),
      keyboard.listen(stage, {
        arrow: (direction, far) => this.walk.arrow(direction, far),
        enter: () => this.walk.enter(),
        escape: () => this.walk.escape(),
        zoom: (factor) => this.#camera.zoom(factor, undefined, undefined, true),
        fit: () => this.#camera.fit(true),
        search,
      }),
    );
  }

  /** Whichever of the two is on the stage. */
  get #camera() {
    return (this.#asked?.collapsed ? this.groups : this.picture).view;
  }

  get #selected() {
    return this.#place(this.#asked?.object);
  }

  /** @param {string | null | undefined} id @returns {number} where the graph has this object, -1: nowhere */
  #place(id) {
    return (id && this.store.graph?.indexOf.get(Number(id))) ?? -1;
  }

  // ---- what the address asks for ----

  #show() {
    const { graph } = this.store;
    const before = this.#asked;
    const asked = shown(this.route.params, graph?.n ?? 0);
    this.#asked = asked;
    const selected = this.#selected;
    this.bar.update({
      q: asked.q,
      pressed: { failed: asked.failed, critical: asked.critical, focus: asked.focus !== null, stages: asked.collapsed },
      focusable: asked.focus !== null || selected >= 0,
    });
    this.failures.draw();
    this.#describe(asked.collapsed);
    this.picture.element.hidden = asked.collapsed || !graph;
    this.groups.set(asked.collapsed ? graph : null);
    if (!graph) {
      this.picture.setScene(null);
      this.minimap.setScene(null);
      this.bands.set([]);
      this.#say();
      return;
    }
    if (asked.collapsed) {
      this.minimap.setScene(null);
      this.minimap.element.hidden = true;
      this.groups.mark(selected < 0 ? -1 : graph.groupOf[selected]);
      this.#setBands(this.groups.bands);
      this.#moved();
    } else {
      this.#showScene(this.#scenes.of(graph, asked.focus), before);
    }
    this.#say();
  }

  #showScene(scene, before) {
    const { picture, store } = this;
    const asked = this.#asked;
    if (scene === null) return;
    const fresh = picture.scene !== scene;
    const jump = this.#jumpTo;
    this.#jumpTo = -1;
    if (fresh) {
      picture.setScene(scene);
      picture.resize();
      this.minimap.setScene(scene);
      picture.view.fit();
    }
    if (fresh || before?.collapsed !== asked.collapsed) this.#setBands(scene.bands);
    if (fresh || before?.q !== asked.q) {
      this.#matches.find(store.graph, scene, asked.q);
      picture.setOver({ match: -1 });
    }
    this.#sayMatches();
    this.#trouble = asked.failed ? troubled(store.states) : null;
    this.#relook();
    const selected = this.#selected;
    const other = picture.over.selected !== selected;
    picture.setOver({ selected, ...(other ? { cursor: -1, hovered: -1 } : {}) });
    if (jump >= 0) this.#showGroup(scene, jump);
    else if (fresh && selected >= 0 && !picture.scene.partial) picture.reveal(selected, picture.view.pose.k < READABLE ? NAMED : 0);
    else if (other && selected >= 0) picture.reveal(selected);
    else if (asked.failed && before && !before.failed) this.#showTrouble();
    this.#moved();
  }

  #showGroup(scene, group) {
    const { groupOf } = this.store.graph;
    const box = scene.around(scene.members.filter((i) => groupOf[i] === group));
    if (box) this.picture.view.show(box, false);
  }

  #showTrouble() {
    const box = this.#trouble.length > 0 ? this.picture.scene.around(this.#trouble) : null;
    if (box) this.picture.view.show(box);
  }

  #relook() {
    const { graph, critical } = this.store;
    const result = look(graph, {
      selected: this.#selected,
      matches: this.#matches.all,
      trouble: this.#trouble,
      critical: this.#asked.critical ? critical : null,
    });
    this.picture.setLook(result);
    this.minimap.setDim(result.dim);
  }

  #setBands(bands) {
    this.bands.set(bands);
    this.#count();
  }

  #count() {
    this.bands.count(loaded(this.store, this.#asked.collapsed ? null : this.picture.scene));
  }

  /** What the stage is to those who do not see it. */
  #describe(collapsed) {
    this.stage.setAttribute('role', collapsed ? 'group' : 'application');
    this.stage.setAttribute('aria-label', t(collapsed ? 'graph.label.groups' : 'graph.label'));
  }

  /** What the row above says of what there is not. */
  #say() {
    const { graph } = this.store;
    const asked = this.#asked;
    this.empty.hidden = graph !== null && graph.n > 0;
    this.empty.textContent = this.empty.hidden ? '' : t(graph ? 'graph.empty' : 'graph.loading');
    this.bar.note(graph ? absence(asked, this.#scenes, { trouble: this.#trouble, path: this.store.critical }) : '');
  }

  #toldWhy() {
    this.tooltip.refresh();
    this.failures.draw();
  }

  // ---- what changes by itself ----

  #ranOn() {
    const { store } = this;
    const path = [...store.critical].join();
    if (this.#asked?.critical && this.#pathShown !== path && this.picture.scene) this.#relook();
    this.#pathShown = path;
    if (store.graph) this.#count();
    this.picture.changed([]);
    this.#say();
  }

  #pathShown = '';

  #changed(some) {
    const { store } = this;
    if (!store.graph) return;
    this.#count();
    this.failures.draw();
    if (this.#asked?.collapsed) {
      this.groups.changed();
      return;
    }
    this.picture.changed(some);
    this.minimap.repaint();
    this.tooltip.refresh();
    if (this.#asked?.failed && this.#troubleTimer === 0) {
      this.#troubleTimer = setTimeout(() => {
        this.#troubleTimer = 0;
        this.#troubleAgain();
      }, TROUBLE_MS);
    }
  }

  #troubleAgain() {
    if (!this.#asked?.failed || !this.store.graph || !this.picture.scene) return;
    const now = troubled(this.store.states);
    if (String(now) === String(this.#trouble)) return;
    this.#trouble = now;
    this.#relook();
    this.#say();
  }

  #moved() {
    const { pose, size } = this.#camera;
    this.bands.place(pose, size.width);
    if (this.#asked?.collapsed) return;
    this.minimap.place(pose, size);
    this.tooltip.hide();
  }

  #resized() {
    this.picture.resize();
    this.groups.resize();
    const selected = this.#selected;
    if (selected >= 0 && !this.#asked.collapsed && !this.picture.view.fits) this.picture.reveal(selected);
  }

  // ---- what is done here ----

  #go(changes, how) {
    go({ params: changed(this.route.params, changes) }, how);
  }

  #search(q) {
    // Groups have no names: whoever looks for an object wants to see objects.
    const stages = q !== '' && this.route.params.get('stages') === '1' ? { stages: null } : {};
    this.#go({ q, ...stages }, { replace: true });
  }

  #next(by) {
    const i = this.picture.scene ? this.#matches.step(by) : -1;
    if (i < 0) return;
    this.picture.setOver({ match: i });
    this.picture.reveal(i, READABLE);
    this.#sayMatches();
    this.said.textContent = spoken(this.store, i);
  }

  #sayMatches() {
    this.bar.found(this.#matches.all?.length ?? null, this.#matches.at);
  }

  #toggle(name) {
    const asked = this.#asked;
    if (name === 'legend') {
      const { element } = this.legend;
      element.hidden = !element.hidden;
      this.bar.update({ q: asked.q, pressed: { legend: !element.hidden }, focusable: asked.focus !== null || this.#selected >= 0 });
    } else {
      this.#go(pressed(name, asked, this.route.params));
    }
  }

  #expand(group) {
    this.#jumpTo = group;
    this.#go({ stages: '0' });
  }

  #objectAt(x, y) {
    const { picture } = this;
    if (!picture.scene || this.#asked?.collapsed) return -1;
    return picture.scene.at(...toWorld(picture.view.pose, x, y), SLACK_PX / picture.view.pose.k);
  }

  #click(x, y) {
    this.stage.focus({ preventScroll: true });
    if (this.#asked?.collapsed) {
      const group = this.groups.at(x, y);
      if (group >= 0) this.#expand(group);
      return;
    }
    const i = this.#objectAt(x, y);
    // The panel takes a part of the stage.
    this.picture.view.hold();
    this.picture.setOver({ cursor: -1 });
    if (i >= 0) select(this.store.graph.ids[i]);
    else if (this.#asked?.object !== null) select(null);
  }

  #twice(x, y) {
    if (this.#asked?.collapsed) {
      this.groups.view.zoom(1.5, x, y, true);
      return;
    }
    const i = this.#objectAt(x, y);
    const { scene } = this.picture;
    if (i >= 0) this.picture.view.centre(scene.x[i], scene.y[i], { least: 1 });
    else this.picture.view.zoom(1.8, x, y, true);
  }

  #hover(x, y, type) {
    if (type === 'touch') return;
    const i = this.#objectAt(x, y);
    this.stage.classList.toggle('is-over', i >= 0);
    this.picture.setOver({ hovered: i });
    if (i >= 0) this.tooltip.show(i, x, y);
    else this.tooltip.hide();
  }

  #unhover() {
    this.picture.setOver({ hovered: -1 });
    this.tooltip.hide();
  }
}
