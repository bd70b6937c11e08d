/** What entrants share, and what surely differs between them there, in plain words. */

import { type Board, type View, figure, named } from "./data";
import type { Entrant } from "./entrants";
import { joined, short } from "./format";
import { evenInJoules, surely } from "./judge";
import type { Pairs, Words } from "./later";
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

/** What has come of the views that the entrants share; null where it could not be loaded. */
export interface Came {
  words: Map<View, Words | null>;
  pairs: Map<View, Pairs | null>;
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
  return once(board, [...found.values()].filter((each) => new Set(each.sides.map((side) => side.at)).size > 1));
}

/** Without those that another one holds: a run of one task has the same rows under "all tasks" and under the task. */
function once(board: Board, all: Group[]): Group[] {
  const told = all.map((group) => new Set(group.sides.map(({ at, view, row }) =>
    JSON.stringify([at, view.what, view.hardware, view.scope, view.grade, view.end - view.start, view.ranked, figure(board, "quality", row), figure(board, "energy", row)]))));
  const holds = (one: number, other: number) => [...told[other]].every((side) => told[one].has(side));
  return all.filter((_, at) => !all.some((_, one) => one !== at && holds(one, at) && (one < at || !holds(at, one))));
}

/** Sentences on a group; only what the data can prove is called sure. */
export function verdicts(board: Board, chosen: Entrant[], group: Group, came: Came): string[] {
  const name = (side: Side) => chosen[side.at].title;
  const told = group.views.flatMap((view) => inView(board, view, group.sides.filter((side) => side.view === view), name, came.pairs.get(view)));
  if (group.views.length > 1) {
    const where = group.views.map((view) => `${joined(group.sides.filter((side) => side.view === view).map(name))} on ${view.hardware} with energy from ${energyFrom(view)} (${covers(view)})`);
    told.push(`Measured apart: ${where.join("; ")}. Energy across these cannot be compared, so no difference between them is called sure.`);
  }
  return told;
}

function inView(board: Board, view: View, sides: Side[], name: (side: Side) => string, pairs?: Pairs | null): string[] {
  if (sides.length < 2) return [];
  const judged = new Set(view.judged), able = sides.map((side) => side.row).filter((row) => judged.has(row));
  if (able.length && !view.paired) return ["Not compared: this view is too large for that."];
  if (able.length && !pairs) return ["Not compared: what compares them could not be loaded."];
  const sure = pairs ? surePairs(board, view, pairs) : [];
  const by = new Map(sides.map((side) => [side.row, name(side)]));
  const told = able.flatMap((row) => {
    const beaten = sure.filter(([winner, loser]) => winner === row && by.has(loser)).map(([, loser]) => loser);
    const even = beaten.filter((loser) => evenInJoules(board, view, row, loser));
    const names = (rows: number[]) => joined(rows.map((each) => by.get(each)!)), more = "more right answers per Wh than";
    const open = beaten.filter((loser) => !even.includes(loser));
    const own = view.modelled_by ? `By ${view.modelled_by} ${by.get(row)}` : by.get(row), though = view.modelled_by ? `, even so if the power model is off by ${short(view.feigned, 2)}× between models` : "";
    return [
      ...(even.length ? [`${own} surely gives ${more} ${names(even)}${though}.`] : []),
      ...(open.length ? [`${own} gives ${more} ${names(open)}; in joules it may be the other way round.`] : []),
    ];
  });
  const known = new Set(sure.map((pair) => [...pair].sort((a, b) => a - b).join()));
  const open = pairsOf(able).filter((pair) => !known.has([...pair].sort((a, b) => a - b).join()));
  if (open.length) told.push(`No sure difference in right answers per Wh: ${open.map(([a, b]) => `${by.get(a)} and ${by.get(b)}`).join("; ")}.`);
  const out = sides.filter((side) => !able.includes(side.row)).map(name);
  if (out.length) told.push(`Not compared, since not judged in this view: ${joined(out)}.`);
  if (able.length < 2) return told;
  if (view.modelled_by) told.push("This rests on a model of power, not on measured joules.");
  if (new Set(able.map((row) => named(board, "run", row))).size > 1) told.push("They were measured in different runs: what changed on the machine between these is in no interval.");
  return told;
}

/**
 * Over all pairs that have a rank, as the ranks' ranges are; where one of the two has none, over all that are judged.
 * Never over those alone that readers chose, since these are the extremes.
 */
function surePairs(board: Board, view: View, pairs: Pairs): [number, number][] {
  const ranked = new Set(view.judged.filter((row) => figure(board, "rank", row) !== null));
  const others = surely(board, view, view.judged, pairs).filter((pair) => !pair.every((row) => ranked.has(row)));
  return [...surely(board, view, [...ranked], pairs), ...others];
}

function pairsOf(rows: number[]): [number, number][] {
  return rows.flatMap((one, at) => rows.slice(at + 1).map((other): [number, number] => [one, other]));
}
