/** Elements from text: nothing is ever read as HTML. */

export function element(name: string, attributes: Record<string, string>, children: (Node | string)[] = []): HTMLElement {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The same for drawings. */
export function vector(name: string, attributes: Record<string, string | number>, children: (Node | string)[] = []): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** Fill a select with values and what they are called, and choose one. */
export function choices(select: HTMLSelectElement, options: [string, string][], chosen: string): void {
  select.replaceChildren(...options.map(([value, title]) => new Option(title, value, false, value === chosen)));
  select.value = chosen;
}
