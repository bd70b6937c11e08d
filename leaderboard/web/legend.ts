/** The signs under the chart: only those that it has. */

import { type Look, path } from "./looks";
import { element, vector } from "./make";

const STEPS = "M-7 5h6V-4h8";

export function legend(shown: Look[], steps: boolean): HTMLElement[] {
  const each = new Map(shown.map((look) => [look.title, look]));
  const entries = [...each.values()].map((look) => element("span", { class: "key" }, [mark(look), look.title]));
  if (steps) entries.push(element("span", { class: "key" }, [sign(STEPS, "front", true), "Pareto frontier"]));
  if (shown.some((look) => look.hollow)) entries.push(element("span", { class: "key" }, ["hollow: energy from a model, not measured"]));
  return entries;
}

/** A mark by itself, for a legend or a heading. */
export function mark(look: Pick<Look, "shape" | "tone" | "hollow">): SVGElement {
  return sign(path(look.shape, 5), look.tone, look.hollow || look.shape === "cross");
}

function sign(d: string, tone: string, hollow: boolean): SVGElement {
  return vector("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true", class: `sign ${tone}${hollow ? " hollow" : ""}` }, [vector("path", { d })]);
}
