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

/**
 * Whom a pin means on the board as it is now, in its own run or in what took that one's place; null where that is gone or
 * open. A label changes with who else has sent the model: it only tells the settings of a run that has several.
 */
export function current(board: Board, pin: string, known: Map<string, Entrant>): Entrant | null {
  const at = pin.lastIndexOf("@"), label = pin.slice(0, at), own = pin.slice(at + 1), later = board.successors[own];
  const found = (run: string) => known.get(`${label}@${run}`) ?? like(label, run, known);
  return found(own) ?? (later === undefined ? null : found(later));
}

function like(label: string, run: string, known: Map<string, Entrant>): Entrant | null {
  const called = ({ model }: Entrant) => label === model || label.startsWith(`${model} (`) || label.startsWith(`${model} [`);
  const all = [...new Set(known.values())].filter((each) => each.run === run && called(each));
  // Of "m" and "m (large)" the longer one is meant.
  const longest = all.reduce((most, { model }) => Math.max(most, model.length), 0), those = all.filter(({ model }) => model.length === longest);
  const fit = those.length === 1 ? those : those.filter((each) => agree(settings(label, longest), settings(each.key.slice(0, -run.length - 1), longest)));
  return fit.length === 1 ? fit[0] : null;
}

/** Such as batch_size=1, of a label whose model's name is so long. */
function settings(label: string, from: number): string[] {
  return (/\((.*)\)/.exec(label.slice(from))?.[1] ?? "").split(", ").filter((part) => part.includes("="));
}

/** Whether one has all that the other tells: labels tell what differs, which is more beside more others. */
function agree(one: string[], other: string[]): boolean {
  return one.every((part) => other.includes(part)) || other.every((part) => one.includes(part));
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
