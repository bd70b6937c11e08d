/** What the page shows: a view, or all views in which the same was asked, side by side and unranked. */

import { type Board, type Figure, type View, figure, span } from "./data";
import type { Words } from "./later";

export interface Shown extends View {
  /** The views whose rows these are; a view that stands alone is its own. */
  parts: View[];
}

/** What is told where several views stand side by side. */
export const SIDE: Words = {
  finding: "These entrants differ in hardware, in what their energy covers or in how it was obtained, so they stand side by side and nothing is ranked.",
  notes: ["Energy: of several kinds, named in each row; the kinds are not comparable.", "To see ranks, choose one kind of hardware and one way of obtaining energy."],
};

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
  const rows = parts.flatMap(spanOf);
  return {
    ...view,
    parts,
    title: `${view.what}, side by side`,
    peculiar: "",
    hardware: "mixed",
    grade: "mixed",
    energy_unit: unit(board, parts, rows, "energy", "energy_unit"),
    rate_unit: unit(board, parts, rows, "rate", "rate_unit"),
  };
}

export function mixed(view: Shown): boolean {
  return view.parts.length > 1;
}

export function rowsOf(view: Shown): number[] {
  return view.parts.flatMap(spanOf);
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
  return view.scope || "no energy";
}

function spanOf(view: View): number[] {
  return span(view.start, view.end);
}

/** The unit of the view that has the middle figure. */
function unit(board: Board, parts: View[], rows: number[], name: Figure, which: "energy_unit" | "rate_unit"): [string, number] {
  const known = rows.filter((row) => figure(board, name, row)).sort((a, b) => figure(board, name, a)! - figure(board, name, b)!);
  const row = known[known.length >> 1] ?? rows[0];
  return parts.find((each) => row >= each.start && row < each.end)![which];
}
