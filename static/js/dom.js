// Makes elements. Text goes in as text, never as markup: there is no way to hand HTML to anything in this file.
// It does not know what the page shows.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. Attributes: `class`, `text` (its text), `dataset` and `style` (objects), `on` (listeners by event), and
 * any other by its name; `true` stands for a bare attribute, `false`, `null` and `undefined` leave it out.
 * @param {string} tag
 * @param {Record<string, any> | null} [attrs]
 * @param {...(Node | string | number | null | undefined | false | Array)} children
 * @returns {HTMLElement}
 */
export function el(tag, attrs, ...children) {
  return dress(document.createElement(tag), attrs, children);
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Record<string, any> | null} [attrs]
 * @param {...(Node | string | number | null | undefined | false | Array)} children
 * @returns {SVGElement}
 */
export function svg(tag, attrs, ...children) {
  return dress(document.createElementNS(SVG, tag), attrs, children);
}

// These are state, not attributes: once a user has typed, the attribute no longer counts.
const PROPERTIES = new Set(['value', 'checked', 'indeterminate', 'selected']);

function dress(element, attrs, children) {
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'text') element.textContent = value;
    else if (name === 'class') element.setAttribute('class', value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'style') for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === 'number' ? String(child) : child);
  }
  // A select takes its value only when it has its options.
  if (element instanceof HTMLSelectElement && attrs?.value !== undefined && attrs.value !== null) element.value = attrs.value;
  return element;
}
