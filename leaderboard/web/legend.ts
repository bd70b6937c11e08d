/** The signs under the chart: only those that it has. */

import type { Shape } from "./chart";
import { element } from "./make";

const SVG = "http://www.w3.org/2000/svg";
const SIGNS: [Shape, string, string][] = [
  ["on", "on the frontier", "M8 3a5 5 0 1 0 .01 0Z"],
  ["unclear", "unclear", "M8 2l6 6-6 6-6-6Z"],
  ["dominated", "dominated", "M2.5 3.5h11L8 13.5Z"],
  ["none", "not judged", "M3 3l10 10M13 3L3 13"],
];
const STEPS = "M1 13h6V4h8";

export function legend(shown: Set<Shape>, hollow: boolean): HTMLElement[] {
  const entries = SIGNS.filter(([shape]) => shown.has(shape))
    .map(([shape, title, path]) => entry(path, `var(--${shape})`, title, !hollow && shape !== "none"));
  if ([...shown].some((shape) => shape !== "none")) entries.push(entry(STEPS, "var(--front)", "Pareto frontier", false));
  if (hollow) entries.push(element("span", { class: "key" }, ["hollow: energy from a model, not measured"]));
  return entries;
}

function entry(path: string, colour: string, title: string, filled: boolean): HTMLElement {
  const sign = document.createElementNS(SVG, "svg"), drawn = document.createElementNS(SVG, "path");
  const set = (made: Element, told: Record<string, string>) => Object.entries(told).forEach(([name, value]) => made.setAttribute(name, value));
  set(sign, { viewBox: "0 0 16 16", "aria-hidden": "true" });
  set(drawn, { d: path, stroke: colour, fill: filled ? colour : "none", "stroke-width": "2" });
  sign.append(drawn);
  return element("span", { class: "key" }, [sign, title]);
}
