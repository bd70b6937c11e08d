/** What a reader chose, and the part of the address that says so. */

import { type Board, figure, named } from "./data";
import { count, memory, short } from "./format";
import { type Shown, beside, rowsOf } from "./views";

export interface State {
  view: string;
  /** All views in which the same was asked, side by side. */
  side: boolean;
  search: string;
  params: number | null;
  memory: number | null;
  licence: string;
  precision: string;
  floor: number | null;
  /** Watt-hours per 1,000 answers. */
  budget: number | null;
  sort: string;
  down: boolean;
  page: number;
  pins: string[];
}

export const FRESH: State = {
  view: "", side: false, search: "", params: null, memory: null, licence: "", precision: "", floor: null, budget: null,
  sort: "rank", down: false, page: 1, pins: [],
};

export function readState(hash: string, board: Board): State {
  const told = new URLSearchParams(hash.replace(/^#/, ""));
  const view = board.views.find((each) => each.id === told.get("view")) ?? board.views[0];
  const amount = (name: string) => {
    const value = Number(told.get(name));
    return told.get(name) && Number.isFinite(value) && value >= 0 ? value : null;
  };
  const sort = told.get("sort") ?? "rank";
  return {
    ...FRESH,
    view: view.id,
    side: told.get("beside") === "all" && beside(board, view).length > 1,
    search: told.get("q") ?? "",
    params: amount("params"),
    memory: amount("memory"),
    licence: told.get("licence") ?? "",
    precision: told.get("precision") ?? "",
    // Whole, as the slider has it and the page tells it.
    floor: whole(amount("floor")),
    budget: amount("budget"),
    sort: sort.replace(/^-/, ""),
    down: sort.startsWith("-"),
    page: Math.max(1, Math.floor(amount("page") ?? 1)),
    pins: told.getAll("pin"),
  };
}

function whole(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}

export function writeState(state: State, board: Board): string {
  const told = new URLSearchParams();
  const set = (name: string, value: string | number | null) => {
    if (value !== null && value !== "") told.set(name, String(value));
  };
  if (state.view !== board.views[0].id) set("view", state.view);
  if (state.side) set("beside", "all");
  set("q", state.search);
  set("params", state.params);
  set("memory", state.memory);
  set("licence", state.licence);
  set("precision", state.precision);
  set("floor", state.floor);
  set("budget", state.budget);
  if (state.sort !== "rank" || state.down) set("sort", (state.down ? "-" : "") + state.sort);
  if (state.page > 1) set("page", state.page);
  for (const pin of state.pins) told.append("pin", pin);
  return told.toString();
}

export interface Filter {
  key: "search" | "params" | "memory" | "licence" | "precision" | "budget";
  /** Such as "parameters up to 1B". */
  says: string;
  /** true passes, false does not, null is not known and so does not. */
  test: (row: number) => boolean | null;
}

/** The filters that a reader set. */
export function filters(board: Board, view: Shown, state: State): Filter[] {
  const found: Filter[] = [];
  const most = (name: "params" | "memory_mb" | "energy", limit: number) => (row: number) => {
    const value = figure(board, name, row);
    return value === null ? null : value <= limit;
  };
  const same = (name: "licence" | "precision", wanted: string) => (row: number) => {
    const value = named(board, name, row);
    return value ? value.toLowerCase() === wanted.toLowerCase() : null;
  };
  if (state.search) {
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = board.names.label.map((label) => words.every((word) => label.toLowerCase().includes(word)));
    found.push({
      key: "search", says: `name with “${state.search}”`,
      test: (row) => hits[board.columns.label[row] as number],
    });
  }
  if (state.params !== null) {
    found.push({ key: "params", says: `up to ${count(state.params)} parameters`, test: most("params", state.params) });
  }
  if (state.memory !== null) {
    found.push({ key: "memory", says: `up to ${memory(state.memory)} of memory`, test: most("memory_mb", state.memory) });
  }
  if (state.licence) {
    found.push({ key: "licence", says: `licence ${state.licence}`, test: same("licence", state.licence) });
  }
  if (state.precision) {
    found.push({ key: "precision", says: `precision ${state.precision}`, test: same("precision", state.precision) });
  }
  if (state.budget !== null) {
    const [unit, factor] = view.energy_unit;
    const says = `at most ${short(state.budget * factor)} ${unit} per 1,000 answers`;
    found.push({ key: "budget", says, test: most("energy", state.budget) });
  }
  return found;
}

export interface Hidden { filter: Filter; fails: number; unknown: number }

/** The rows of a view that pass, and how many each filter hides by itself. */
export function sift(view: Shown, active: Filter[]): { rows: number[]; hidden: Hidden[] } {
  const hidden = active.map((filter) => ({ filter, fails: 0, unknown: 0 }));
  const rows: number[] = [];
  for (const row of rowsOf(view)) {
    let passes = true;
    for (const each of hidden) {
      const verdict = each.filter.test(row);
      if (verdict) continue;
      passes = false;
      if (verdict === null) each.unknown++;
      else each.fails++;
    }
    if (passes) rows.push(row);
  }
  return { rows, hidden };
}
