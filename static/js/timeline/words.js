// The timeline's texts and times, in the page's language. Made once for each mount: another language mounts anew.

import { language, t } from '../i18n.js';
import { duration, STAGES, STATES } from '../format.js';
import { stateAt } from './sweep.js';

/**
 * @param {import('../store.js').Store} store
 */
export function wordsOf(store) {
  const locale = language() === 'fr' ? 'fr-FR' : 'en-GB';
  const format = (options) => {
    const made = new Intl.DateTimeFormat(locale, { hourCycle: 'h23', ...options });
    return (ms) => made.format(ms);
  };
  const two = '2-digit';
  const units = {
    ms: format({ hour: two, minute: two, second: two, fractionalSecondDigits: 3 }),
    second: format({ hour: two, minute: two, second: two }),
    minute: format({ hour: two, minute: two }),
    day: format({ day: 'numeric', month: 'short' }),
  };
  const day = format({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });

  return {
    tick: (ms, unit) => units[unit](ms),
    day,
    precise: units.ms,
    stage: (stage) => t(`stage.${STAGES[stage]}`),
    ready: (n) => t('timeline.ready', { n }),
    running: (n) => t('timeline.running', { n }),
    peak: (n) => t('timeline.peak', { n }),
    worker: (name) => name || t('timeline.no-worker'),
    group(group, busy) {
      const member = store.members?.workers?.find((one) => one.worker === group.name);
      const parts = [t(`stage.${STAGES[group.stage]}`)];
      parts.push(member ? t('timeline.slots', { n: member.slots }) : t('timeline.lanes', { n: group.lanes.length }));
      parts.push(t('timeline.busy', { n: busy }));
      return parts.join(' · ');
    },
    /** What is known of an attempt, as pairs and as one sentence. */
    attempt(model, a, until) {
      const { attempts, graph } = model;
      const object = attempts.object[a];
      const [ready, start, end] = [attempts.ready[a], attempts.start[a], attempts.end[a]];
      const state = STATES[stateAt(attempts, a, until)];
      const ran = duration((Math.min(end, until) - start) / 1000);
      return {
        id: String(graph.ids[object]),
        name: graph.names[object] ?? '',
        state,
        facts: [
          [t('timeline.attempt'), String(attempts.attempt[a])],
          [t('timeline.worker'), attempts.workers[attempts.worker[a]] || t('timeline.no-worker')],
          [t('timeline.started'), units.ms(start)],
          [t('timeline.waited'), ready === ready ? duration(Math.max(0, start - ready) / 1000) : null],
          [t(end <= until ? 'timeline.ran' : 'timeline.runs-for'), ran],
          [t('timeline.path'), store.critical.has(object) ? t('timeline.critical') : null],
        ].filter(([, value]) => value !== null),
      };
    },
    sentence(model, a, until) {
      const { id, name, state, facts } = this.attempt(model, a, until);
      return [`${id} ${name}`.trim(), t(`state.${state}`), ...facts.map(([key, value]) => `${key} ${value}`)].join(', ');
    },
  };
}
