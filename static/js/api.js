// Calls of the API. A call that needs the token asks for it, once; it is kept for as long as the tab is open.
// It knows no path of the API.

const KEY = 'korch.token';

/** @type {(wrong: boolean) => Promise<string | null>} */
let askForToken = async () => null;
/** The one question that is open, whichever calls wait for its answer. @type {Promise<string | null> | null} */
let asking = null;

/** What a call met. `status` is 0 where no answer came; `problems` are the server's, each with its hint. */
export class ApiError extends Error {
  /** @param {number} status @param {string} detail @param {object[]} [problems] */
  constructor(status, detail, problems = []) {
    super(detail);
    this.name = 'ApiError';
    this.status = status;
    this.detail = detail;
    this.problems = problems;
  }
}

/** What is said where the server says nothing; main.js gives them in the page's language. */
let words = { unreachable: 'The server does not answer.', unsaid: (status) => `The server answered ${status}.`, token: 'A token is needed.' };

/**
 * @param {{words: typeof words, askForToken: typeof askForToken}} given
 */
export function configure(given) {
  words = given.words;
  askForToken = given.askForToken;
}

/**
 * @param {string} path
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer's JSON
 */
export function get(path, { signal } = {}) {
  return call(path, { signal });
}

/**
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>} the answer's JSON
 */
export function post(path, body) {
  return call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body ?? {}) });
}

/** An address beside the page's own, wherever a proxy has put that. @param {string} path @returns {URL} */
export function address(path) {
  return new URL(path.replace(/^\//, ''), document.baseURI.replace(/[?#].*$/, ''));
}

async function call(path, options) {
  for (;;) {
    const token = kept();
    const headers = token ? { ...options.headers, authorization: `Bearer ${token}` } : options.headers;
    const response = await ask(path, { ...options, headers });
    if (response.ok) return read(response);
    const error = await errorOf(response);
    if (response.status !== 401) throw error;
    // Another call may have learnt a better one meanwhile.
    if (kept() === token && !(await learn(token !== null))) throw new ApiError(401, words.token, error.problems);
  }
}

async function ask(path, options) {
  try {
    return await fetch(address(path), options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, words.unreachable);
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, words.unreachable); // the answer was cut off
  }
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const detail = body?.detail || body?.title || words.unsaid(response.status);
  return new ApiError(response.status, detail, Array.isArray(body?.problems) ? body.problems : []);
}

async function learn(wrong) {
  if (wrong) keep(null);
  asking ??= askForToken(wrong).finally(() => { asking = null; });
  const token = await asking;
  if (token) keep(token);
  return Boolean(token);
}

let inMemory = null;

function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? inMemory;
  } catch {
    return inMemory;
  }
}

function keep(token) {
  inMemory = token;
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // A browser that keeps nothing: it holds until the page is left.
  }
}
