/** Entrants across views: where the same model of the same run, in the same setting, is found. */

import { type Board, type View, named } from "./data";

export interface Entrant {
  /** As addresses have it. */
  key: string;
  /** Its name among all entrants. */
  title: string;
  model: string;
  run: string;
  /** Its row in each view that has it. */
  rows: Map<View, number>;
}

/** What tells a row of a view, in addresses. */
export function key(board: Board, row: number): string {
  return `${named(board, "label", row)}@${named(board, "run", row)}`;
}

/** What tells all rows. */
export function keys(board: Board): Set<string> {
  return new Set(board.columns.run.map((_, row) => key(board, row)));
}

/** A pin as the board has it now, that of a superseded run in what took its place; null where it is gone. */
export function current(board: Board, pin: string, known: { has(key: string): boolean; keys(): Iterable<string> }): string | null {
  if (known.has(pin)) return pin;
  const at = pin.lastIndexOf("@"), run = `@${board.successors[pin.slice(at + 1)]}`, named = pin.slice(0, at);
  if (known.has(named + run)) return named + run;
  // Labels have the run's name too where several have the model.
  const bare = (label: string) => label.split(" (")[0];
  const like = [...known.keys()].filter((each) => each.endsWith(run) && bare(each.slice(0, -run.length)) === bare(named));
  return like.length === 1 ? like[0] : null;
}

/**
 * All entrants, by each key that a row of theirs has. A model that has one row at most in any view of a run is the same
 * everywhere, whatever it is called beside others; one that a run measured in several settings is told by its label.
 */
export function entrants(board: Board): Map<string, Entrant> {
  const several = new Set<string>(), runs = new Map<string, Set<string>>();
  const pair = (row: number) => `${board.columns.model[row]} ${board.columns.run[row]}`;
  each(board, (_view, row, seen) => {
    if (seen.has(pair(row))) several.add(pair(row));
    seen.add(pair(row));
    const model = named(board, "model", row);
    runs.set(model, (runs.get(model) ?? new Set()).add(named(board, "run", row)));
  });
  const made = new Map<string, Entrant>(), found = new Map<string, Entrant>();
  each(board, (view, row) => {
    const own = several.has(pair(row)) ? key(board, row) : pair(row);
    const model = named(board, "model", row), run = named(board, "run", row), label = named(board, "label", row);
    const name = several.has(pair(row)) ? label : model;
    const title = runs.get(model)!.size > 1 && !name.includes(run) ? `${name} [${run}]` : name;
    if (!made.has(own)) made.set(own, { key: key(board, row), title, model, run, rows: new Map() });
    made.get(own)!.rows.set(view, row);
    found.set(key(board, row), made.get(own)!);
  });
  return found;
}

function each(board: Board, tell: (view: View, row: number, seen: Set<string>) => void): void {
  for (const view of board.views) {
    const seen = new Set<string>();
    for (let row = view.start; row < view.end; row++) tell(view, row, seen);
  }
}
