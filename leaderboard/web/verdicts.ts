/** What entrants share, and what surely differs between them there, in plain words. */

import { type Board, type View, named } from "./data";
import type { Entrant } from "./entrants";
import { contest } from "./judge";
import { covers, energyFrom } from "./views";

export interface Side {
  /** Which of the chosen entrants. */
  at: number;
  view: View;
  row: number;
}

/** What at least two of them were asked alike, in one view or in several that cannot be compared. */
export interface Group {
  views: View[];
  sides: Side[];
}

export function groups(board: Board, chosen: Entrant[]): Group[] {
  const found = new Map<number, Group>();
  for (const view of board.views) {
    const sides = chosen.flatMap(({ rows }, at) => (rows.has(view) ? [{ at, view, row: rows.get(view)! }] : []));
    if (!sides.length) continue;
    const group = found.get(view.asked) ?? { views: [], sides: [] };
    group.views.push(view);
    group.sides.push(...sides);
    found.set(view.asked, group);
  }
  return [...found.values()].filter((each) => new Set(each.sides.map((side) => side.at)).size > 1);
}

/** Sentences on a group; only what the data can prove is called sure. */
export function verdicts(board: Board, chosen: Entrant[], group: Group): string[] {
  const name = (side: Side) => chosen[side.at].title;
  const told = group.views.flatMap((view) => inView(board, view, group.sides.filter((side) => side.view === view), name));
  if (group.views.length > 1) {
    const where = group.views.map((view) => `${joined(group.sides.filter((side) => side.view === view).map(name))} on ${view.hardware} with energy from ${energyFrom(view)} (${covers(view)})`);
    told.push(`Measured apart: ${where.join("; ")}. Energy across these cannot be compared, so no difference between them is called sure.`);
  }
  return told;
}

function inView(board: Board, view: View, sides: Side[], name: (side: Side) => string): string[] {
  if (sides.length < 2) return [];
  const found = contest(board, view, sides.map((side) => side.row));
  if (!found) return ["Not compared: this view is too large for the page's data, or nothing in it is judged."];
  const by = new Map(sides.map((side) => [side.row, name(side)]));
  const told = found.able.flatMap((row) => {
    const beaten = found.sure.filter(([winner]) => winner === row).map(([, loser]) => by.get(loser)!);
    return beaten.length ? [`${by.get(row)} surely gives more right answers per Wh than ${joined(beaten)}.`] : [];
  });
  const known = new Set(found.sure.map((pair) => [...pair].sort((a, b) => a - b).join()));
  const open = pairsOf(found.able).filter((pair) => !known.has([...pair].sort((a, b) => a - b).join()));
  if (open.length) told.push(`No sure difference in right answers per Wh: ${open.map(([a, b]) => `${by.get(a)} and ${by.get(b)}`).join("; ")}.`);
  const out = sides.filter((side) => !found.able.includes(side.row)).map(name);
  if (out.length) told.push(`Not compared, since not judged in this view: ${joined(out)}.`);
  if (found.able.length < 2) return told;
  if (view.grade === "modelled") told.push("This rests on a model of power, not on measured joules.");
  if (new Set(found.able.map((row) => named(board, "run", row))).size > 1) told.push("They were measured in different runs: what changed on the machine between these is in no interval.");
  return told;
}

function pairsOf(rows: number[]): [number, number][] {
  return rows.flatMap((one, at) => rows.slice(at + 1).map((other): [number, number] => [one, other]));
}

export function joined(names: string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
