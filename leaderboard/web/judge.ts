/** Ranks, ties and the frontier of the rows that are shown, by the rules of `joulemark rank`. */

import { type Board, type View, figure, named } from "./data";
import type { Pairs } from "./later";

export interface Place {
  rank: number | null;
  /** Null where the range is not known. */
  low: number | null;
  high: number | null;
  /** Empty where it is not judged. */
  frontier: string;
}

const ALPHA = 0.05;

/** Whether all of a view is shown by its own floor: then the places are those of the data. */
export function isWhole(view: View, rows: number[], floor: number): boolean {
  return rows.length === view.end - view.start && floor === view.floor;
}

/**
 * The place of each row: of a whole view as the data have it, else worked out anew. Without `pairs` ranks are, but
 * ranges and the frontier are not known: those of the whole view are of other rows.
 */
export function judge(board: Board, view: View, rows: number[], floor: number, pairs: Pairs | null): Map<number, Place> {
  const places = new Map<number, Place>();
  for (const row of rows) {
    places.set(row, {
      rank: figure(board, "rank", row),
      low: figure(board, "rank_low", row),
      high: figure(board, "rank_high", row),
      frontier: named(board, "frontier", row),
    });
  }
  if (isWhole(view, rows, floor)) return places;
  const able = rows.filter((row) => named(board, "frontier", row) && (figure(board, "quality", row) ?? 0) >= floor);
  rank(board, able, places);
  if (!pairs) {
    for (const row of rows) if (places.get(row)!.frontier) places.get(row)!.frontier = "unknown";
    return places;
  }
  for (const row of able) Object.assign(places.get(row)!, { low: 1, high: able.length });
  for (const [winner, loser] of surely(board, view, able, pairs)) {
    places.get(winner)!.high!--;
    places.get(loser)!.low!++;
  }
  judgeFrontier(view, rows, places, pairs);
  return places;
}

/** Whether one row has the higher rank: figures are rounded, so the whole view's ranks tell, where both have one. */
function better(board: Board, a: number, b: number): boolean {
  const own = figure(board, "rank", a), theirs = figure(board, "rank", b);
  if (own !== null && theirs !== null) return own < theirs;
  return (figure(board, "rate", a) ?? 0) > (figure(board, "rate", b) ?? 0);
}

function rank(board: Board, able: number[], places: Map<number, Place>): void {
  for (const place of places.values()) place.rank = place.low = place.high = null;
  const order = [...able].sort((a, b) => (better(board, a, b) ? -1 : better(board, b, a) ? 1 : a - b));
  order.forEach((row, at) => {
    const before = at ? order[at - 1] : row;
    const tied = at > 0 && !better(board, before, row);
    const own = places.get(row)!;
    own.rank = tied ? places.get(before)!.rank : at + 1;
  });
}

/**
 * Whether a difference that is sure is so by more than what the power model may feign: by both intervals' ends, which
 * lie further apart than the ends of the pair's own.
 */
export function evenInJoules(board: Board, view: View, winner: number, loser: number): boolean {
  const least = figure(board, "rate_low", winner), most = figure(board, "rate_high", loser);
  return view.modelled_by === null || (least !== null && most !== null && least >= view.feigned * most);
}

/** Pairs of which the first surely gives more right answers per Wh, by Holm's correction (1979) over all of these rows. */
export function surely(board: Board, view: View, able: number[], { p }: Pairs): [number, number][] {
  const number = numbers(view), many = number.size, all = (able.length * (able.length - 1)) / 2;
  const tested: [number, number, number][] = [];
  able.forEach((one, at) => {
    for (const other of able.slice(at + 1)) {
      const [i, j] = [number.get(one)!, number.get(other)!].sort((a, b) => a - b);
      const own = p[i * many - (i * (i + 1)) / 2 + (j - i - 1)];
      if (own <= ALPHA) tested.push([own, one, other]);
    }
  });
  tested.sort((a, b) => a[0] - b[0]);
  const found: [number, number][] = [];
  for (let at = 0; at < tested.length && tested[at][0] <= ALPHA / (all - at); at++) {
    const [, one, other] = tested[at];
    if (better(board, one, other)) found.push([one, other]);
    else if (better(board, other, one)) found.push([other, one]);
  }
  return found;
}

/** Dominated as long as one that surely beats it is shown; who is on the frontier of more stays on it. */
function judgeFrontier(view: View, rows: number[], places: Map<number, Place>, { beaten_by }: Pairs): void {
  const shown = new Set(rows), number = numbers(view);
  for (const row of rows) {
    const own = places.get(row)!, k = number.get(row);
    if (k === undefined || own.frontier === "on") continue;
    own.frontier = beaten_by[k].some((rival) => shown.has(view.judged[rival])) ? "dominated" : "unclear";
  }
}

/** The number that pairs call a judged row by. */
function numbers(view: View): Map<number, number> {
  return new Map(view.judged.map((row, k) => [row, k]));
}
