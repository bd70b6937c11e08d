/** Ranks, ties and the frontier of the rows that are shown, by the rules of `joulemark rank`. */

import { type Board, type View, figure, named } from "./data";

export interface Place {
  rank: number | null;
  low: number | null;
  high: number | null;
  frontier: string;
}

const ALPHA = 0.05;

/**
 * The place of each row. Where nothing is hidden and the floor is the view's own these are the places of the data;
 * else they are worked out anew, and where the view is too large for that, `exact` is false and ranges are the whole view's.
 */
export function judge(board: Board, view: View, rows: number[], floor: number): { places: Map<number, Place>; exact: boolean } {
  const places = new Map<number, Place>();
  for (const row of rows) {
    places.set(row, {
      rank: figure(board, "rank", row),
      low: figure(board, "rank_low", row),
      high: figure(board, "rank_high", row),
      frontier: named(board, "frontier", row),
    });
  }
  if (rows.length === view.end - view.start && floor === view.floor) return { places, exact: true };
  const able = rows.filter((row) => named(board, "frontier", row) && (figure(board, "quality", row) ?? 0) >= floor);
  rank(board, able, places, rows);
  if (!view.pairs) return { places, exact: !able.length };
  const number = new Map(view.pairs.rows.map((row, k) => [view.start + row, k]));
  range(board, view, able, places, number);
  judgeFrontier(view, rows, places, number);
  return { places, exact: true };
}

/**
 * Those of a view's rows that the data can compare, and pairs of which the first surely gives more right answers per Wh,
 * by Holm's correction over these rows alone. Null where the view is too large, or nothing in it is judged.
 */
export function contest(board: Board, view: View, rows: number[]): { able: number[]; sure: [number, number][] } | null {
  if (!view.pairs) return null;
  const number = new Map(view.pairs.rows.map((row, k) => [view.start + row, k]));
  const able = rows.filter((row) => number.has(row));
  return { able, sure: surely(board, view, able, number) };
}

/** Whether one row has the higher rank: figures are rounded, so the whole view's ranks tell, where both have one. */
function better(board: Board, a: number, b: number): boolean {
  const own = figure(board, "rank", a), theirs = figure(board, "rank", b);
  if (own !== null && theirs !== null) return own < theirs;
  return (figure(board, "rate", a) ?? 0) > (figure(board, "rate", b) ?? 0);
}

function rank(board: Board, able: number[], places: Map<number, Place>, rows: number[]): void {
  for (const row of rows) Object.assign(places.get(row)!, { rank: null, low: null, high: null });
  const order = [...able].sort((a, b) => (better(board, a, b) ? -1 : better(board, b, a) ? 1 : a - b));
  order.forEach((row, at) => {
    const before = at ? order[at - 1] : row;
    const tied = at > 0 && !better(board, before, row);
    const own = places.get(row)!;
    own.rank = tied ? places.get(before)!.rank : at + 1;
    own.low = figure(board, "rank_low", row);
    own.high = figure(board, "rank_high", row);
  });
}

/** Ranges by Holm's correction (1979) over the pairs of these rows alone. */
function range(board: Board, view: View, able: number[], places: Map<number, Place>, number: Map<number, number>): void {
  for (const row of able) Object.assign(places.get(row)!, { low: 1, high: able.length });
  for (const [winner, loser] of surely(board, view, able, number)) beat(places, winner, loser);
}

/** Pairs of which the first surely gives more right answers per Wh, by Holm's correction (1979) over these rows alone. */
function surely(board: Board, view: View, able: number[], number: Map<number, number>): [number, number][] {
  const { p, rows } = view.pairs!;
  const many = rows.length;
  const pairs: [number, number, number][] = [];
  able.forEach((one, at) => {
    for (const other of able.slice(at + 1)) {
      const [i, j] = [number.get(one)!, number.get(other)!].sort((a, b) => a - b);
      pairs.push([p[i * many - (i * (i + 1)) / 2 + (j - i - 1)], one, other]);
    }
  });
  pairs.sort((a, b) => a[0] - b[0]);
  const found: [number, number][] = [];
  for (let at = 0; at < pairs.length && pairs[at][0] <= ALPHA / (pairs.length - at); at++) {
    const [, one, other] = pairs[at];
    if (better(board, one, other)) found.push([one, other]);
    else if (better(board, other, one)) found.push([other, one]);
  }
  return found;
}

function beat(places: Map<number, Place>, winner: number, loser: number): void {
  places.get(winner)!.high!--;
  places.get(loser)!.low!++;
}

/** Dominated as long as one that surely beats it is shown; who is on the frontier of more stays on it. */
function judgeFrontier(view: View, rows: number[], places: Map<number, Place>, number: Map<number, number>): void {
  const shown = new Set(rows);
  for (const row of rows) {
    const own = places.get(row)!, k = number.get(row);
    if (k === undefined || own.frontier === "on") continue;
    const beaten = view.pairs!.beaten_by[k].some((rival) => shown.has(view.start + view.pairs!.rows[rival]));
    own.frontier = beaten ? "dominated" : "unclear";
  }
}
