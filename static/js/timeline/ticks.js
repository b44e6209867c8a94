// Where the time axis has its ticks: round instants of local time, from milliseconds to weeks.
// Pure: the words for them are the caller's.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500,
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND,
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 364 * DAY,
];

/** The smallest step that leaves `gap` pixels between ticks. @param {number} msPerPixel @param {number} gap */
export function stepFor(msPerPixel, gap) {
  const wanted = msPerPixel * gap;
  return STEPS.find((step) => step >= wanted) ?? STEPS[STEPS.length - 1];
}

/** How a tick at this step is written. @param {number} step @returns {'ms'|'second'|'minute'|'day'} */
export function unitOf(step) {
  if (step < SECOND) return 'ms';
  if (step < MINUTE) return 'second';
  return step < DAY ? 'minute' : 'day';
}

/**
 * The ticks within [from, to], at most a thousand.
 * @param {number} from @param {number} to @param {number} step
 * @returns {{t:number, day:boolean}[]} `day`: a day begins here
 */
export function ticks(from, to, step) {
  const out = [];
  const push = (t) => {
    if (t >= from && t <= to && out.length < 1000) out.push({ t, day: step < DAY && isMidnight(t) });
  };
  if (step < HOUR) {
    // Every zone of the earth is off by a multiple of 15 min, so these are round in local time too, but for 30 min.
    const shift = step > 15 * MINUTE ? new Date(from).getTimezoneOffset() * MINUTE : 0;
    for (let t = Math.ceil((from - shift) / step) * step + shift; t <= to && out.length < 1000; t += step) push(t);
    return out;
  }
  // Hours and days by the calendar: a day of 23 or 25 hours keeps its ticks at full hours and at midnight.
  const date = new Date(from);
  date.setHours(0, 0, 0, 0);
  const days = Math.max(1, Math.round(step / DAY));
  if (days > 1) {
    const since = Math.floor(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY);
    date.setDate(date.getDate() - (since % days));
  }
  for (let guard = 0; date.getTime() <= to && guard < 2000; guard += 1) {
    if (step >= DAY) {
      push(date.getTime());
    } else {
      for (let hour = 0; hour < 24; hour += step / HOUR) {
        const at = new Date(date);
        at.setHours(hour);
        push(at.getTime());
      }
    }
    date.setDate(date.getDate() + days);
  }
  return out;
}

function isMidnight(t) {
  const date = new Date(t);
  return date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0 && date.getMilliseconds() === 0;
}
