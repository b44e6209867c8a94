// The time slider below every view of a run: see travel/slider.js.

export { mount } from './travel/slider.js';
