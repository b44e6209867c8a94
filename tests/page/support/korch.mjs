// korch as a process of its own, in a folder of its own, for as long as a test lasts. It learns where korch listens from
// what korch says, and ends it by its process id.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const BINARY = path.resolve(ROOT, process.env.KORCH_BIN ?? 'target/debug/korch');
/** Longer than anything takes on a machine that is busy with everything else. */
export const DEADLINE_MS = 60_000;
const LOOK_MS = 20;

/** The error of the object that fails, simulated or at a gate. */
export const ERROR = 'test forcé de objectfailed';
/**
 * Work that waits at its stage's gate until the test opens that: what is between two steps of a run can be looked at for
 * as long as that takes. 2005 fails. Where the folder is gone, the test is, and so is the work.
 */
export const GATED = ['--exec', `while [ -e Objets.json ] && ! [ -e "$KORCH_STAGE.open" ]; do sleep 0.05; done; if [ "$KORCH_OBJECT_ID" = 2005 ]; then echo '${ERROR}' >&2; exit 1; fi`];

/**
 * Waits until `look` finds something.
 * @template T
 * @param {string} what
 * @param {() => Promise<T> | T} look
 * @returns {Promise<T>}
 */
export async function poll(what, look) {
  const until = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < until, `waited in vain: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
  }
}

/** A folder with a catalogue, and the korch that runs in it. */
export class Korch {
  #child = null;
  #said = '';
  #args;
  #env;
  #memory;

  /** @type {string} the page's address */
  page;
  /** @type {string} the folder */
  dir;

  /**
   * @param {object} [how]
   * @param {object[]} [how.catalogue] its entries; left out: the sample
   * @param {string[]} [how.args] more of the command line
   * @param {Record<string, string>} [how.env]
   * @param {boolean} [how.keeps] whether the log outlives the process
   * @returns {Promise<Korch>} that listens and leads
   */
  static async start({ catalogue, args = [], env = {}, keeps = false } = {}) {
    assert.ok(existsSync(BINARY), `no ${BINARY}: cargo build, or say where it is by KORCH_BIN`);
    const korch = new Korch();
    korch.dir = await mkdtemp(path.join(tmpdir(), 'korch-page-'));
    const file = path.join(korch.dir, 'Objets.json');
    if (catalogue) await writeFile(file, JSON.stringify(catalogue));
    else await copyFile(path.join(ROOT, 'Objets.json'), file);
    korch.#args = args;
    korch.#memory = !keeps;
    // Nothing of korch from outside: a variable that somebody has set would be another test.
    korch.#env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('KORCH_') && name !== 'OBJETS_PATH'));
    Object.assign(korch.#env, env);
    await korch.#spawn('127.0.0.1:0').catch(async (error) => {
      await korch.end();
      throw error;
    });
    return korch;
  }

  async #spawn(listen) {
    const log = this.#memory ? ['--memory'] : ['--data-dir', 'log'];
    this.#said = '';
    this.#child = spawn(BINARY, ['up', '--idle', ...log, '--listen', 'off', '--ui-listen', listen, ...this.#args],
      { cwd: this.dir, env: this.#env, stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface({ input: this.#child.stderr }).on('line', (line) => { this.#said += `${line}\n`; });
    const address = await poll('the address of the page', () => {
      assert.equal(this.#child.exitCode, null, `korch ended: ${this.#said}`);
      return /^ *page {2}(http:\S+)/m.exec(this.#said)?.[1];
    });
    this.page = `${address}/`;
    await poll('readiness', async () => (await fetch(`${this.page}readyz`)).ok);
  }

  /** Lets the work of these stages go on. @param {...('ingest' | 'standardize' | 'application')} stages */
  async openGates(...stages) {
    for (const stage of stages) await writeFile(path.join(this.dir, `${stage}.open`), '');
  }

  /** `kill -9`. */
  async kill() {
    if (this.#child === null || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  /** Once more, in the same folder and on the same port. */
  async startAgain() {
    await this.#spawn(new URL(this.page).host);
  }

  /** Ends it and leaves nothing. */
  async end() {
    await this.kill();
    await rm(this.dir, { recursive: true, force: true });
  }

  // ---- its API ----

  /** @param {string} call */
  async get(call) {
    const answer = await fetch(new URL(call, this.page));
    const body = await answer.json();
    assert.ok(answer.ok, `${call}: ${JSON.stringify(body)}`);
    return body;
  }

  /** @param {string} call @param {object} [body] @param {Record<string, string>} [headers] */
  async post(call, body = {}, headers = {}) {
    const answer = await fetch(new URL(call, this.page), { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
    const said = await answer.json();
    assert.ok(answer.ok, `${call}: ${JSON.stringify(said)}`);
    return said;
  }

  /** Starts a run. @param {string[]} [targets] @returns {Promise<string>} its id */
  async run(targets = []) {
    return (await this.post('orchestrate', { targets })).run_id;
  }

  /** The run, once it is over. @param {string} run */
  finished(run) {
    return poll('the end of the run', async () => {
      const known = await this.get(`runs/${run}`);
      return known.finished_at !== null && known;
    });
  }
}
