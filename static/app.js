// The page renders what the API says and decides nothing. Whatever comes from the log is text, never markup.

const GLYPH = {
  waiting: '○', queued: '○', ready: '◔', running: '◑', retrying: '↻', loaded: '✓', succeeded: '✓',
  failed: '✕', skipped: '⊘', cancelled: '■', up: '●', draining: '◐', silent: '?', gone: '■',
};
const STAGES = ['ingest', 'standardize', 'application'];
const SHOWN = 600; // chips in a column; those that need a look come first
const URGENT = ['failed', 'retrying', 'running', 'ready', 'skipped', 'cancelled', 'waiting', 'loaded'];
const KEPT_EVENTS = 200;
const PAUSE_MS = 300;

const $ = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function badge(where, state, text) {
  where.dataset.state = state;
  const full = `${GLYPH[state] ?? '○'} ${text}`;
  if (where.textContent !== full) where.textContent = full;
}

function seconds(value) {
  if (value === null || value === undefined) return '–';
  if (value < 60) return `${value.toFixed(1)} s`;
  const [h, m, s] = [Math.floor(value / 3600), Math.floor(value / 60) % 60, Math.floor(value % 60)];
  return h > 0 ? `${h} h ${m} min` : `${m} min ${s} s`;
}

const clock = (text) => (text ? new Date(text).toLocaleTimeString([], { hourCycle: 'h23' }) : '–');

async function call(path, options) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const listed = (body.problems ?? []).map((problem) => problem.message ?? JSON.stringify(problem));
  const error = new Error([body.detail ?? response.statusText, ...listed].join('\n'));
  error.status = response.status;
  throw error;
}

function notice(text) {
  $('notice').hidden = !text;
  $('notice').textContent = text ?? '';
}

// ---- the latest run ----

const chips = new Map(); // `run/object` → { element, shows }

function chip(run, object) {
  const key = `${run.run_id}/${object.id}`;
  const error = object.attempts.findLast((attempt) => attempt.error)?.error;
  const last = object.attempts.at(-1);
  const because = object.because ? `because of ${object.because.join(', ')}` : null;
  const note = object.state === 'failed' || object.state === 'retrying' ? error : because;
  const shows = JSON.stringify([object.state, object.name, note, last?.attempt, last?.worker]);
  const known = chips.get(key) ?? { element: element('li', 'chip') };
  chips.set(key, known);
  if (known.shows === shows) return known.element;
  known.shows = shows;
  known.element.dataset.state = object.state;
  known.element.title = [object.name, object.state, last?.worker, note].filter(Boolean).join(' · ');
  const glyph = element('span', 'glyph', GLYPH[object.state] ?? '○');
  glyph.setAttribute('aria-hidden', 'true');
  known.element.replaceChildren(
    glyph,
    element('b', '', String(object.id)),
    element('span', 'name', object.name ?? ''),
    element('span', 'state', (last?.attempt ?? 1) > 1 ? `${object.state} (try ${last.attempt})` : object.state),
    ...(note ? [element('span', 'note', note)] : []),
  );
  return known.element;
}

let shownRun = null;

function showRun(run) {
  if (shownRun?.run_id !== run?.run_id) chips.clear();
  shownRun = run;
  const open = run?.state === 'queued' || run?.state === 'running';
  $('cancel').disabled = !open;
  badge($('outcome'), run?.state ?? 'waiting', run?.state ?? 'none yet');
  $('duration').textContent = run ? seconds(run.duration_seconds) : '';
  $('run-id').textContent = run?.run_id ?? '';
  $('reason').hidden = !run?.reason;
  $('reason').textContent = run?.reason ?? '';
  const counts = run?.counts ?? { objects: 0, loaded: 0, failed: 0, skipped: 0 };
  $('counts').replaceChildren(...Object.entries(counts).map(([name, count]) =>
    element('div', `count ${name}`, element('dt', '', name), element('dd', '', count.toLocaleString('en')))));
  $('progress').max = Math.max(1, counts.objects);
  $('progress').value = counts.loaded + counts.failed + counts.skipped;
  for (const stage of STAGES) {
    const objects = (run?.objects ?? []).filter((object) => object.stage === stage);
    const through = objects.filter((object) => object.state === 'loaded').length;
    $(`t-${stage}`).querySelector('small').textContent = objects.length ? `${through} of ${objects.length} loaded` : '';
    const shown = objects.length <= SHOWN ? objects
      : URGENT.flatMap((state) => objects.filter((object) => object.state === state)).slice(0, SHOWN);
    const rest = objects.length - shown.length;
    const items = shown.map((object) => chip(run, object));
    if (rest > 0) items.push(element('li', 'more', `and ${rest.toLocaleString('en')} more`));
    const list = $(stage);
    if (items.length !== list.children.length || items.some((item, i) => list.children[i] !== item)) list.replaceChildren(...items);
  }
}

function showRuns(runs) {
  $('runs').replaceChildren(...runs.map((run) => {
    const outcome = element('span', 'badge');
    badge(outcome, run.state, run.state);
    const row = element('tr', '', element('td', '', outcome));
    const cells = [clock(run.requested_at ?? run.planned_at), run.requested_by ?? '–', seconds(run.duration_seconds),
      `${run.counts.loaded} / ${run.counts.objects}`, run.counts.failed, run.counts.skipped];
    row.append(...cells.map((cell, i) => element('td', i === 1 ? 'by' : '', String(cell))));
    row.title = [run.run_id, run.requested_by, run.reason].filter(Boolean).join(' · ');
    return row;
  }));
}

function showMembers({ leader, workers }) {
  const led = leader?.led ?? false;
  badge($('leader'), led ? 'up' : 'silent', led ? `leader, epoch ${leader.epoch}` : 'no leader');
  const up = workers.filter((worker) => worker.state === 'up');
  const slots = up.reduce((sum, worker) => sum + worker.slots, 0);
  badge($('workers'), up.length ? 'up' : 'silent', `${up.length} worker${up.length === 1 ? '' : 's'}, ${slots} slots`);
  $('workers').title = workers.map((worker) => `${worker.worker}: ${worker.state}, runs ${worker.running.length}`).join('\n');
}

let refreshing = false;
let stale = false;

async function refresh() {
  if (refreshing) { stale = true; return; }
  [refreshing, stale] = [true, false];
  const began = performance.now();
  try {
    const latest = call('/runs/latest').catch((error) => { if (error.status === 404) return null; throw error; });
    const [run, { runs }, members] = await Promise.all([latest, call('/runs?limit=20'), call('/workers')]);
    showRun(run);
    showRuns(runs);
    showMembers(members);
  } catch (error) {
    console.warn('korch does not answer:', error); // the connection's badge says so
  }
  // A large run is fetched less often: looking on must not slow the load down.
  setTimeout(() => { refreshing = false; if (stale) refresh(); }, Math.max(PAUSE_MS, 4 * (performance.now() - began)));
}

// ---- the events ----

let fresh = [];

function describe(event) {
  const parts = [event.id_objet, event.outcome, event.worker ?? event.meta?.worker, event.meta?.error, event.requested_by];
  return parts.filter((part) => part !== null && part !== undefined && part !== '').map((part) =>
    (typeof part === 'object' ? JSON.stringify(part) : String(part))).join(' · ');
}

function flush() {
  const list = $('events');
  const items = fresh.slice(-KEPT_EVENTS).reverse().map((event) => {
    const item = element('li', '', element('time', '', clock(event.event_datetime)),
      element('b', '', String(event.event_type)), element('span', '', describe(event)));
    item.dataset.type = String(event.event_type);
    return item;
  });
  fresh = [];
  list.prepend(...items);
  while (list.children.length > KEPT_EVENTS) list.lastElementChild.remove();
}

function arrived(event) {
  if (fresh.length === 0) requestAnimationFrame(flush);
  if (fresh.length >= 2 * KEPT_EVENTS) fresh.splice(0, KEPT_EVENTS); // a page in the background draws no frames
  fresh.push(event);
  refresh();
}

const source = new EventSource('/events/stream');
let early = []; // what the stream brings before the last events are here; null afterwards
source.onopen = async () => {
  badge($('connection'), 'up', 'connected');
  refresh();
  if (early === null) return;
  const { last_events: last } = await call(`/events/last?limit=${KEPT_EVENTS / 4}`).catch(() => ({ last_events: [] }));
  const seen = new Set(last.map((event) => JSON.stringify(event)));
  [...last, ...(early ?? []).filter((event) => !seen.has(JSON.stringify(event)))].forEach(arrived);
  early = null;
};
source.onerror = () => badge($('connection'), 'silent', 'connection lost, trying again');
source.onmessage = (message) => {
  const event = JSON.parse(message.data);
  if (early === null) arrived(event); else early.push(event);
};
source.addEventListener('reset', () => { fresh = []; $('events').replaceChildren(); refresh(); });

// ---- the buttons ----

function button(id, act) {
  $(id).addEventListener('click', async () => {
    $(id).disabled = true;
    notice(null);
    try {
      notice(await act());
    } catch (error) {
      notice(error.message);
    }
    $(id).disabled = false;
    refresh();
  });
}

const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"requested_by":"page"}' };

button('start', async () => {
  const { count } = await call('/orchestrate', json);
  return count === null ? 'The run is asked for and waits for its turn.' : null;
});
button('cancel', async () => { await call(`/runs/${shownRun?.run_id}/cancel`, json); });

setInterval(refresh, 2000);
