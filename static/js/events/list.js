// The list of events: constant rows, drawn where they are in sight, one of them opened to its JSON. It follows the
// newest at the bottom until the reader scrolls away. Knows lines, not where they come from.

import { SIGNS, pretty } from './record.js';
import { copyButton } from '../table/clip.js';
import { el } from '../dom.js';
import { dateTime, duration } from '../format.js';
import { language, t } from '../i18n.js';
import { go, href, route } from '../router.js';

const ROW = 28;
const LINE = 18; // of the opened JSON
const SPARE = 6;
const OPENED = { least: 80, most: 360, rest: 64 };
const NEAR = 24; // pixels from the end that are still the end

export class List {
  following = true;
  #shown = [];
  #drawn = new Map(); // line → element
  #opened = null; // a line
  #detail = null;
  #height = 0; // of the detail
  #frame = 0;
  #sizes;
  #times = new Intl.DateTimeFormat(language() === 'fr' ? 'fr-FR' : 'en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23' });

  /** @param {{label:string, nameOf:(line:import('./record.js').Line)=>string, followed:(following:boolean)=>void}} told */
  constructor(told) {
    this.told = told;
    this.body = el('div', { class: 'events-body', role: 'list', 'aria-label': told.label });
    this.element = el('div', { class: 'events-list', tabindex: '0', role: 'region', 'aria-label': told.label, on: { scroll: () => this.#scrolled(), keydown: (event) => this.#key(event) } }, this.body);
    this.#sizes = new ResizeObserver(() => {
      if (this.following) this.element.scrollTop = this.element.scrollHeight;
      this.#draw();
    });
    this.#sizes.observe(this.element);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    this.#sizes.disconnect();
  }

  /**
   * @param {import('./record.js').Line[]} shown
   * @param {number} [gone]  how many fell out above since the last time
   */
  show(shown, gone = 0) {
    this.#shown = shown;
    if (this.#opened !== null && !shown.includes(this.#opened)) this.#close();
    this.#measure();
    if (this.following) this.element.scrollTop = this.element.scrollHeight;
    // What is being read stays where it is.
    else if (gone > 0) this.element.scrollTop -= gone * ROW;
    this.#draw();
  }

  /** Goes to the newest and follows it. */
  follow() {
    this.following = true;
    this.told.followed(true);
    this.element.scrollTop = this.element.scrollHeight;
    this.#draw();
  }

  /** Lines may be told differently: they are drawn anew. */
  redraw() {
    this.#drawn.clear();
    this.body.replaceChildren();
    if (this.#detail) this.body.append(this.#detail);
    this.#draw();
  }

  #measure() {
    this.body.style.height = `${this.#shown.length * ROW + this.#height}px`;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const following = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (following !== this.following) {
      this.following = following;
      this.told.followed(following);
    }
    this.#draw();
  }

  #draw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.#drawNow(); });
  }

  #drawNow() {
    const { scrollTop, clientHeight } = this.element;
    const open = this.#opened === null ? Infinity : this.#shown.indexOf(this.#opened);
    const from = Math.max(0, Math.floor((scrollTop - this.#height) / ROW) - SPARE);
    const to = Math.min(this.#shown.length, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    const wanted = new Set(this.#shown.slice(from, to));
    for (const [line, row] of this.#drawn) {
      if (wanted.has(line) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#drawn.delete(line);
    }
    for (let at = from; at < to; at += 1) {
      const line = this.#shown[at];
      let row = this.#drawn.get(line);
      if (!row) {
        row = this.#row(line);
        this.#drawn.set(line, row);
        this.body.append(row);
      }
      row.style.transform = `translateY(${at * ROW + (at > open ? this.#height : 0)}px)`;
      row.setAttribute('aria-posinset', String(at + 1));
      row.setAttribute('aria-setsize', String(this.#shown.length));
    }
    for (const [line, row] of this.#drawn) if (!wanted.has(line) && !this.#shown.includes(line)) { row.remove(); this.#drawn.delete(line); }
    if (this.#detail) this.#detail.style.transform = `translateY(${(open + 1) * ROW}px)`;
  }

  #row(line) {
    const [glyph, state] = SIGNS[line.type] ?? ['•', 'queued'];
    const known = !Number.isNaN(line.at);
    const time = known ? this.#times.format(line.at) : '–';
    const expanded = line === this.#opened;
    const button = el('button', { type: 'button', class: 'event-open', 'aria-expanded': String(expanded), title: t('events.open'), on: { click: () => this.#toggle(line) } },
      el('time', { class: 'event-time', title: known ? dateTime(line.at) : null, text: time }),
      el('span', { class: 'event-type', dataset: { state } }, el('span', { class: 'glyph', 'aria-hidden': 'true', text: glyph }), el('span', { class: 'ellipsis', text: line.type || '?' })));
    const tail = [line.worker, line.attempt !== '' && line.attempt !== '1' ? t('events.attempt', { attempt: line.attempt }) : ''].filter(Boolean).join(' · ');
    const name = this.told.nameOf(line);
    const note = [line.seconds === null ? '' : duration(line.seconds), worded('run-state', line.outcome), worded('panel.cause', line.cause), line.note, line.because === '' ? '' : t('table.becauseOf', { objects: line.because })].filter(Boolean).join(' · ');
    return el('div', { class: expanded ? 'event is-open' : 'event', role: 'listitem', dataset: { type: line.type } },
      button,
      line.object === null
        ? el('span', { class: 'event-object' })
        : el('span', { class: 'event-object ellipsis', title: name === '' ? line.object : `${line.object} ${name}` },
          el('a', { href: href({ params: objectParams(line.object) }), on: { click: (event) => openObject(event, line.object) }, text: line.object }),
          name === '' ? null : el('bdi', { class: 'event-name', text: name })),
      el('span', { class: 'event-worker ellipsis', title: tail, text: tail }),
      el('span', { class: line.type === 'ObjectFailed' ? 'event-note ellipsis is-error' : 'event-note ellipsis', title: note, text: note }));
  }

  #toggle(line) {
    const again = line === this.#opened;
    this.#close();
    if (!again) this.#open(line);
    this.#measure();
    this.#drawNow();
  }

  #open(line) {
    const { text, cut } = pretty(line);
    this.#opened = line;
    this.#height = Math.max(OPENED.least, Math.min(OPENED.most, text.split('\n').length * LINE + OPENED.rest));
    this.#mark(line, true);
    this.#detail = el('div', { class: 'event-detail', style: { height: `${this.#height}px` } },
      el('div', { class: 'event-detail-head' },
        el('span', { class: 'soft', text: cut ? t('events.cut', { n: line.chars }) : t('events.raw') }),
        copyButton({ label: t('events.copy'), done: t('copied'), failed: t('copyFailed'), text: () => text })),
      el('pre', { tabindex: '0', role: 'region', 'aria-label': t('events.raw'), text }));
    this.body.append(this.#detail);
    if (this.following) {
      this.following = false; // who opens an event reads it
      this.told.followed(false);
    }
  }

  #close() {
    if (this.#opened === null) return;
    this.#mark(this.#opened, false);
    this.#detail.remove();
    [this.#opened, this.#detail, this.#height] = [null, null, 0];
  }

  #mark(line, open) {
    const row = this.#drawn.get(line);
    row?.classList.toggle('is-open', open);
    row?.querySelector('.event-open').setAttribute('aria-expanded', String(open));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape' && this.#opened !== null) {
      event.stopPropagation();
      this.#toggle(this.#opened);
      return;
    }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const row = event.target.closest('.event');
    if (!row) return;
    const line = [...this.#drawn].find(([, drawn]) => drawn === row)?.[0];
    const next = this.#shown[this.#shown.indexOf(line) + (event.key === 'ArrowDown' ? 1 : -1)];
    const button = next && this.#drawn.get(next)?.querySelector('.event-open');
    if (!button) return;
    event.preventDefault();
    button.focus();
  }
}

/** What the wire says in a word of its own; a stranger's word stays as it is. */
function worded(keys, word) {
  const key = `${keys}.${word}`;
  return t(key) === key ? word : t(key);
}

/** An object's panel, with the list as it is. */
function objectParams(object) {
  const params = new URLSearchParams(route.params);
  if (params.get('object') === null || params.get('only') === '0') params.set('only', '0');
  params.set('object', object);
  return params;
}

function openObject(event, object) {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go({ params: objectParams(object) });
}

