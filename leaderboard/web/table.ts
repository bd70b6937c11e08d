/** The table of the rows that are shown, a page at a time: pages, unlike a scroll that makes rows, can be searched. */

import { type Board, figure, named } from "./data";
import { MISSING, count, decimalsFor, fixed, memory, shared, span } from "./format";
import type { Place } from "./judge";
import { element } from "./make";
import { type Shown, covers, energyFrom, home, mixed, rowsOf } from "./views";

export const ROWS = 50;

export interface Told {
  board: Board;
  view: Shown;
  /** In the order of the table. */
  rows: number[];
  places: Map<number, Place>;
  page: number;
  pins: Set<number>;
  sort: string;
  down: boolean;
}

export interface Heard {
  sort: (column: string) => void;
  pin: (row: number) => void;
  light: (row: number | null) => void;
}

interface Heading {
  key: string;
  title: string;
  class: string;
  /** Whether a first click sorts from the most. */
  most: boolean;
  value: (row: number) => number | string | null;
}

/** The columns of a view; those that say nothing about any of its rows are left out. */
export function headings(board: Board, view: Shown, places: Map<number, Place>): Heading[] {
  const own = (name: Parameters<typeof figure>[1]) => (row: number) => figure(board, name, row);
  const rateTitle = "Right answers beyond guessing per Wh" + (view.rate_unit[0] ? `, ${view.rate_unit[0]}s` : "");
  const all: Heading[] = [
    { key: "rank", title: "Rank", class: "rank", most: false, value: (row) => places.get(row)!.rank },
    { key: "model", title: "Model", class: "", most: false, value: (row) => named(board, "label", row).toLowerCase() },
    { key: "rate", title: rateTitle, class: "num", most: true, value: own("rate") },
    { key: "energy", title: `${view.energy_unit[0]} per 1,000 answers`, class: "num", most: false, value: own("energy") },
    { key: "quality", title: "Quality", class: "num", most: true, value: own("quality") },
    { key: "frontier", title: "Frontier", class: "", most: false, value: (row) => ["on", "unclear", "dominated", "unknown", ""].indexOf(places.get(row)!.frontier) },
    { key: "hardware", title: "Hardware", class: "more where", most: false, value: (row) => home(view, row).hardware },
    { key: "grade", title: "Energy from", class: "more where", most: false, value: (row) => `${energyFrom(home(view, row))}, ${covers(home(view, row))}` },
    { key: "params", title: "Parameters", class: "num more", most: false, value: own("params") },
    { key: "memory", title: "Peak memory", class: "num more", most: false, value: own("memory_mb") },
    { key: "precision", title: "Precision", class: "more", most: false, value: (row) => named(board, "precision", row) || null },
    { key: "licence", title: "Licence", class: "more", most: false, value: (row) => named(board, "licence", row) || null },
  ];
  const optional = new Set(["params", "memory", "precision", "licence"]), rows = rowsOf(view);
  const apart = new Set(mixed(view) ? ["rank", "frontier"] : ["hardware", "grade"]);
  return all.filter((each) => !apart.has(each.key) && (!optional.has(each.key) || rows.some((row) => each.value(row) !== null)));
}

/**
 * Rows by a column; what is missing comes last either way, and equal rows keep the order of the ranks.
 *
 * `told.rows` come in the order of the data; `asRanked` says that this is the order of their ranks still.
 */
export function sorted(told: Omit<Told, "page"> & { asRanked: boolean }): number[] {
  const { board, places } = told;
  const ranked = told.asRanked ? [...told.rows] : byRank(told);
  const heading = headings(board, told.view, places).find((each) => each.key === told.sort);
  if (!heading || (told.sort === "rank" && !told.down)) return ranked;
  const sign = told.down ? -1 : 1;
  const keyed = ranked.map((row) => ({ row, value: heading.value(row) }));
  const known = keyed.filter((each) => each.value !== null), missing = keyed.filter((each) => each.value === null);
  known.sort((a, b) => (a.value! < b.value! ? -sign : a.value! > b.value! ? sign : 0));
  return known.concat(missing).map((each) => each.row);
}

function byRank({ board, rows, places }: Pick<Told, "board" | "rows" | "places">): number[] {
  const worth = (row: number) => figure(board, "rate", row) ?? 0;
  const quality = (row: number) => figure(board, "quality", row) ?? 0;
  const place = (row: number) => places.get(row)!.rank ?? Infinity;
  const gap = (a: number, b: number) => (a === b ? 0 : a - b);
  return [...rows].sort((a, b) => gap(place(a), place(b)) || worth(b) - worth(a) || quality(b) - quality(a) || a - b);
}

export function drawTable(box: HTMLElement, told: Told, heard: Heard): void {
  const { board, view, places } = told;
  const columns = headings(board, view, places);
  const head = element("tr", {});
  for (const each of columns) {
    const sorts = each.key === told.sort;
    const button = element("button", { type: "button" }, [each.title + (sorts ? (told.down ? " ▼" : " ▲") : "")]);
    button.addEventListener("click", () => heard.sort(each.key));
    button.dataset.key = each.key;
    const cell = element("th", { scope: "col", class: each.class }, [button]);
    if (sorts) cell.setAttribute("aria-sort", told.down ? "descending" : "ascending");
    head.append(cell);
  }
  const body = element("tbody", {});
  const write = writer(board, view);
  for (const row of told.rows.slice((told.page - 1) * ROWS, told.page * ROWS)) {
    const place = places.get(row)!;
    const pinned = told.pins.has(row);
    const pin = element("button", { type: "button", class: "pin", title: "Pin: mark it, and compare it", "aria-pressed": String(pinned), "aria-label": `Pin ${named(board, "label", row)}` }, ["◎"]);
    pin.addEventListener("click", () => heard.pin(row));
    const line = element("tr", { "data-row": String(row) });
    line.classList.toggle("front", place.frontier === "on");
    line.classList.toggle("unranked", place.rank === null && !mixed(view));
    line.classList.toggle("pinned", pinned);
    for (const each of columns) line.append(write(each, row, place, pin));
    line.addEventListener("pointerenter", () => heard.light(row));
    line.addEventListener("pointerleave", () => heard.light(null));
    body.append(line);
  }
  const table = element("table", {}, [element("caption", {}, [view.title]), element("thead", {}, [head]), body]);
  const focus = document.activeElement instanceof HTMLElement && box.contains(document.activeElement) ? mark(document.activeElement) : null;
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${view.title}` }, [table]);
  scroll.scrollLeft = box.querySelector(".scroll")?.scrollLeft ?? 0;
  box.replaceChildren(scroll);
  if (focus) box.querySelector<HTMLElement>(focus)?.focus();
}

/** How to find a control again after its table was drawn anew. */
function mark(control: HTMLElement): string {
  if (control.dataset.key) return `button[data-key="${control.dataset.key}"]`;
  const row = control.closest("tr")?.dataset.row;
  return row ? `tr[data-row="${row}"] ${control.tagName.toLowerCase()}` : ".scroll";
}

/** Rank with its range where that is wider, such as "2 (1–3)"; "~2" where it is not known. */
export function rankText(place: Place): [string, string] {
  if (place.rank === null) return [MISSING, ""];
  if (place.low === null) return [`~${place.rank}`, ""];
  return [String(place.rank), place.low === place.high ? "" : `(${span(place.low, place.high, 0)})`];
}

function writer(board: Board, view: Shown): (heading: Heading, row: number, place: Place, pin: HTMLElement) => HTMLElement {
  const column = (name: "rate" | "energy", factor: number) =>
    rowsOf(view).map((row) => figure(board, name, row)).filter((value): value is number => value !== null).map((value) => value * factor);
  // Side by side figures lie so far apart that each has decimals of its own.
  const decimals = mixed(view) ? { rate: null, energy: null } : {
    rate: shared(column("rate", view.rate_unit[1]), 2, view.rate_unit[1] === 1 ? 2 : 3),
    energy: shared(column("energy", view.energy_unit[1]), 3, 3),
  };
  const scaled = (name: "rate" | "energy", factor: number, row: number) => {
    const [value, low, high] = ([name, `${name}_low`, `${name}_high`] as const).map((each) => figure(board, each, row));
    if (value === null) return two("num", MISSING, "");
    const digits = decimals[name] ?? decimalsFor(value * factor);
    return two("num", fixed(value * factor, digits), low === null || high === null ? "" : span(low * factor, high * factor, digits));
  };
  return (heading, row, place, pin) => {
    switch (heading.key) {
      case "rank": {
        const [text, range] = rankText(place);
        const cell = element("td", { class: "rank" }, [text]);
        if (range) cell.append(" ", element("span", { class: "within" }, [range]));
        return cell;
      }
      case "model": {
        const at = board.columns.model[row] as number, run = board.columns.run[row] as number;
        const link = element("a", { href: `model/${board.pages.model[at]}.html` }, [named(board, "label", row)]);
        const from = element("a", { href: `run/${board.pages.run[run]}.html` }, [`run ${board.names.run[run]}`]);
        const where = mixed(view) ? [element("span", { class: "ci words less" }, [`${home(view, row).hardware}; ${home(view, row).grade ?? "no energy"}`])] : [];
        const quality = figure(board, "quality", row), points = quality === null ? [] : [element("span", { class: "ci less" }, [`${fixed(quality, 1)} points`])];
        return element("th", { scope: "row" }, [pin, link, element("span", { class: "ci words more" }, [from]), ...where, ...points]);
      }
      case "rate": return scaled("rate", view.rate_unit[1], row);
      case "energy": return scaled("energy", view.energy_unit[1], row);
      case "quality": return two("num", fixed(figure(board, "quality", row), 1), span(figure(board, "quality_low", row), figure(board, "quality_high", row), 1));
      case "frontier": return element("td", {}, [element("span", { class: `mark ${place.frontier || "none"}` }, [place.frontier || "not judged"])]);
      case "params": return element("td", { class: heading.class }, [count(figure(board, "params", row))]);
      case "memory": return element("td", { class: heading.class }, [memory(figure(board, "memory_mb", row))]);
      default: return element("td", { class: heading.class }, [String(heading.value(row) ?? MISSING)]);
    }
  };
}

export function two(kind: string, value: string, limits: string): HTMLElement {
  const cell = element("td", { class: kind }, [value]);
  if (limits) cell.append(element("span", { class: "ci" }, [limits]));
  return cell;
}
