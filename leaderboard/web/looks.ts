/** How an entrant's mark looks: by shape as well as by colour, hollow where its energy was not measured. */

import type { Place } from "./judge";
import { type Shown, covers, energyFrom, home, mixed } from "./views";

export type Shape = "circle" | "diamond" | "down" | "cross" | "square" | "up";
/** Names of colours in the style sheet. */
export type Tone = "on" | "unclear" | "dominated" | "none" | "front";

export interface Look {
  shape: Shape;
  tone: Tone;
  hollow: boolean;
  title: string;
}

const STATUS: Record<string, [Shape, Tone, string]> = {
  on: ["circle", "on", "on the frontier"],
  unclear: ["diamond", "unclear", "unclear"],
  dominated: ["down", "dominated", "dominated"],
  unknown: ["square", "none", "frontier unknown"],
  "": ["cross", "none", "not judged"],
};
const KINDS: [Shape, Tone][] = [["circle", "on"], ["square", "front"], ["diamond", "dominated"], ["up", "none"], ["down", "unclear"]];

/** Of a view: the place on the frontier; of views side by side: which of them. */
export function lookOf(view: Shown, row: number, place: Place): Look {
  const own = home(view, row), hollow = own.grade === "modelled";
  if (mixed(view)) return { ...kind(view.parts.indexOf(own)), hollow, title: `${own.hardware}: ${energyFrom(own)}, ${covers(own)}` };
  const [shape, tone, title] = STATUS[place.frontier];
  return { shape, tone, hollow, title };
}

/** The look of one of several that differ in kind; shape and colour together tell 25 apart. */
export function kind(at: number): Pick<Look, "shape" | "tone"> {
  const many = KINDS.length;
  return { shape: KINDS[at % many][0], tone: KINDS[(at + Math.floor(at / many)) % many][1] };
}

/** Corners and strokes of a mark of that size around 0, 0, as the path of an SVG or of a canvas. */
export function path(shape: Shape, r: number): string {
  const closed = (corners: [number, number][]) => `M${corners.map(([x, y]) => `${x * r} ${y * r}`).join("L")}Z`;
  switch (shape) {
    case "circle": return `M0 ${-r}A${r} ${r} 0 1 1 -.01 ${-r}Z`;
    case "cross": return `M${-r} ${-r}L${r} ${r}M${r} ${-r}L${-r} ${r}`;
    case "diamond": return closed([[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]]);
    case "down": return closed([[-1.1, -0.9], [1.1, -0.9], [0, 1.1]]);
    case "up": return closed([[-1.1, 0.9], [1.1, 0.9], [0, -1.1]]);
    case "square": return closed([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
  }
}
