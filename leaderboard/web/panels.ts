/** Small pictures, one for each thing that was asked: quality and energy with their intervals, all on the same scales. */

import { type Board, type Figure, figure } from "./data";
import type { Entrant } from "./entrants";
import { short } from "./format";
import { kind, path } from "./looks";
import { element, vector } from "./make";
import type { Group, Side } from "./verdicts";

const WIDTH = 340, TOP = 4, LINE = 34, FOOT = 34, LONGEST = 46;
const QUALITY: [number, number] = [12, 158], ENERGY: [number, number] = [188, 328];

interface Scale { at: (value: number) => number; ticks: [number, string][]; title: string }
interface Scales { quality: Scale; energy: Scale | null }

export function pictures(board: Board, chosen: Entrant[], shared: Group[]): HTMLElement {
  const scales = makeScales(board, shared);
  const places = new Set(shared.flatMap((group) => group.views.map((view) => view.hardware)));
  const caption = (group: Group) => (group.views.length > 1 ? `${heading(group)}, measured apart` : places.size > 1 ? heading(group) : group.views[0].what);
  const each = shared.map((group) => element("figure", {}, [element("figcaption", {}, [caption(group)]), panel(board, chosen, group, scales)]));
  const hollow = shared.some((group) => group.views.some((view) => view.grade === "modelled"));
  const said = `${places.size > 1 ? "" : `On ${[...places][0]}. `}Bars are 95 % intervals; all panels have the same scales.${hollow ? " Hollow marks: energy from a model, not measured." : ""} The tables below have every figure.`;
  return element("div", {}, [element("div", { class: "panels" }, each), element("p", { class: "small" }, [said])]);
}

/** What was asked, without the hardware where that differs. */
export function heading(group: Group): string {
  return group.views.length > 1 ? group.views[0].what : group.views[0].title;
}

function panel(board: Board, chosen: Entrant[], group: Group, scales: Scales): SVGElement {
  const bottom = TOP + group.sides.length * LINE, drawn: SVGElement[] = [];
  for (const scale of [scales.quality, scales.energy]) {
    if (!scale) continue;
    for (const [x, text] of scale.ticks) drawn.push(vector("line", { class: "tick", x1: x, x2: x, y1: TOP, y2: bottom }), words(x, bottom + 13, text, "middle"));
  }
  drawn.push(words(QUALITY[0] - 6, bottom + 28, scales.quality.title), words(ENERGY[0] - 6, bottom + 28, scales.energy?.title ?? "no energy"));
  group.sides.forEach((side, at) => {
    const y = TOP + at * LINE, middle = y + 23;
    drawn.push(words(QUALITY[0] - 6, y + 12, cut(chosen[side.at].title), "start", "name"));
    drawn.push(...interval(board, side, "quality", scales.quality, middle));
    if (scales.energy) drawn.push(...interval(board, side, "energy", scales.energy, middle));
  });
  return vector("svg", { viewBox: `0 0 ${WIDTH} ${bottom + FOOT}`, "aria-hidden": "true", class: "panel-picture" }, drawn);
}

/** A mark with its interval; nothing where the figure is missing. */
function interval(board: Board, side: Side, name: "quality" | "energy", scale: Scale, y: number): SVGElement[] {
  const [value, low, high] = ([name, `${name}_low`, `${name}_high`] as Figure[]).map((each) => figure(board, each, side.row));
  if (value === null || (name === "energy" && !value)) return [words((name === "energy" ? ENERGY : QUALITY)[0], y + 4, "not known")];
  const { shape, tone } = kind(side.at), hollow = name === "energy" && side.view.grade === "modelled";
  const bar = low === null || high === null || (name === "energy" && low <= 0) ? [] : [vector("line", { class: `bar ${tone}`, x1: scale.at(low), x2: scale.at(high), y1: y, y2: y })];
  const made = vector("path", { class: `sign ${tone}${hollow ? " hollow" : ""}`, d: path(shape, 5), transform: `translate(${scale.at(value)} ${y})` });
  return [...bar, made];
}

function makeScales(board: Board, shared: Group[]): Scales {
  const rows = shared.flatMap((group) => group.sides.map((side) => side.row));
  const all = (...names: Figure[]) => names.flatMap((name) => rows.map((row) => figure(board, name, row))).filter((value): value is number => value !== null);
  const low = Math.min(0, ...all("quality", "quality_low"));
  const points = linear(low, 100, QUALITY);
  const quality = { at: points, ticks: [0, 50, 100].map((value): [number, string] => [points(value), String(value)]), title: "Quality, points" };
  const energies = all("energy", "energy_low", "energy_high").filter((value) => value > 0);
  if (!energies.length) return { quality, energy: null };
  const [from, to] = [Math.log10(Math.min(...energies)) - 0.05, Math.log10(Math.max(...energies)) + 0.05];
  const logs = linear(from, to, ENERGY), at = (value: number) => logs(Math.log10(value));
  const [unit, factor] = shared[0].views[0].energy_unit;
  const ticks = spots(10 ** from * factor, 10 ** to * factor).map((value): [number, string] => [at(value / factor), short(value, 1)]);
  return { quality, energy: { at, ticks, title: `${unit} per 1,000, log scale` } };
}

/** At most four round values of a log scale: of 1, 2, 3, 5 and 7 times powers of ten, or of powers alone. */
function spots(from: number, to: number): number[] {
  for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) found.push(...steps.map((step) => step * 10 ** power).filter((value) => value >= from && value <= to));
    if (found.length <= 4) return found;
    if (steps.length === 1) return found.filter((_, at) => at % Math.ceil(found.length / 4) === 0);
  }
  return [];
}

function linear(from: number, to: number, [left, right]: [number, number]): (value: number) => number {
  return (value) => left + ((value - from) / (to - from || 1)) * (right - left);
}

function words(x: number, y: number, text: string, anchor = "start", kind = "word"): SVGElement {
  return vector("text", { x, y, "text-anchor": anchor, class: kind }, [text]);
}

/** The end stays whole: there settings and runs stand. */
function cut(name: string): string {
  return name.length <= LONGEST ? name : `${name.slice(0, LONGEST - 24)}…${name.slice(-23)}`;
}
