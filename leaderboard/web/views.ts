/** What the page shows: a view, or all views in which the same was asked, side by side and unranked. */

import { type Board, type Figure, type View, figure } from "./data";

export interface Shown extends View {
  /** The views whose rows these are; a view that stands alone is its own. */
  parts: View[];
}

const GRADES: Record<string, string> = { wall: "a wall meter", counter: "energy counters", polled: "polled power", modelled: "a model of power", "": "no meter" };

/** Views in which the same was asked, on other hardware, or with energy that was obtained otherwise. */
export function beside(board: Board, view: View): View[] {
  return board.views.filter((each) => each.asked === view.asked);
}

/** A view by its id, alone or with those beside it. */
export function open(board: Board, id: string, side: boolean): Shown {
  const view = board.views.find((each) => each.id === id)!;
  const parts = beside(board, view);
  if (!side || parts.length < 2) return { ...view, parts: [view] };
  const rows = parts.flatMap(span);
  return {
    ...view,
    parts,
    title: `${titled(view)[0].replace(` on ${view.hardware}`, "")}, side by side`,
    hardware: "mixed",
    grade: "mixed",
    energy_unit: unit(board, parts, rows, "energy", "energy_unit"),
    rate_unit: unit(board, parts, rows, "rate", "rate_unit"),
    finding: "These entrants differ in hardware, in what their energy covers or in how it was obtained, so they stand side by side and nothing is ranked.",
    notes: ["Energy: of several kinds, named in each row; the kinds are not comparable.", "To see ranks, choose one kind of hardware and one way of obtaining energy."],
    pairs: null,
  };
}

export function mixed(view: Shown): boolean {
  return view.parts.length > 1;
}

export function rowsOf(view: Shown): number[] {
  return view.parts.flatMap(span);
}

/** The view that a row is ranked in. */
export function home(view: Shown, row: number): View {
  return view.parts.find((each) => row >= each.start && row < each.end)!;
}

/** How the energy of a view was obtained, in words. */
export function energyFrom(view: View): string {
  return GRADES[view.grade ?? ""] ?? view.grade!;
}

/** What the energy covers, such as package+dram. */
export function covers(view: View): string {
  return view.variant.replace(/^\d+ tasks?, /, "").split(", ")[0];
}

/** A view's title for a heading, and what more tells it from others; that may be long. */
export function titled(view: View): [string, string] {
  const on = ` on ${view.hardware}`, whole = view.title.endsWith(on) ? view.title.slice(0, -on.length) : view.title;
  const words = view.variant.split(", ");
  const tails = words.map((_, at) => words.slice(at).join(", "));
  const tail = tails.find((each) => whole.endsWith(`, ${each}`)) ?? "";
  return tail ? [whole.slice(0, -tail.length - 2) + on, tail] : [view.title, ""];
}

function span(view: View): number[] {
  return Array.from({ length: view.end - view.start }, (_, at) => view.start + at);
}

/** The unit of the view that has the middle figure. */
function unit(board: Board, parts: View[], rows: number[], name: Figure, which: "energy_unit" | "rate_unit"): [string, number] {
  const known = rows.filter((row) => figure(board, name, row)).sort((a, b) => figure(board, name, a)! - figure(board, name, b)!);
  const row = known[known.length >> 1] ?? rows[0];
  return parts.find((each) => row >= each.start && row < each.end)![which];
}
