/** The tables of a comparison: what the entrants are, and their figures in each view. */

import { type Board, type Figure, type Named, type View, figure, named } from "./data";
import type { Entrant } from "./entrants";
import { MISSING, count, decimalsFor, fixed, memory, span } from "./format";
import { kind } from "./looks";
import { mark } from "./legend";
import { element } from "./make";
import { heading } from "./panels";
import { rankText, two } from "./table";
import { type Came, type Group, type Side, verdicts } from "./verdicts";
import { covers, energyFrom } from "./views";

/** What is told of each entrant; the submitter's word. */
export function facts(board: Board, chosen: Entrant[]): HTMLElement {
  const rows = (each: Entrant) => [...each.rows.values()];
  const text = (name: Named) => (each: Entrant) => [[...new Set(rows(each).map((row) => named(board, name, row)).filter(Boolean))].join(", ") || "not told"];
  const least = (name: Figure, tell: (value: number) => string) => (each: Entrant) => {
    const known = rows(each).map((row) => figure(board, name, row)).filter((value): value is number => value !== null);
    const ends = [...new Set([Math.min(...known), Math.max(...known)].map(tell))];
    return [known.length ? ends.join(" to ") : "not told"];
  };
  const link = (folder: "model" | "run") => (each: Entrant) =>
    [...new Set(rows(each).map((row) => board.columns[folder][row] as number))].map((at) => element("a", { href: `${folder}/${board.pages[folder][at]}.html` }, [board.names[folder][at]]));
  const told: [string, (each: Entrant) => (Node | string)[]][] = [
    ["Model", link("model")], ["Run", link("run")], ["Kind", text("kind")], ["Parameters", least("params", count)],
    ["Peak memory", least("memory_mb", memory)], ["Precision", text("precision")], ["Licence", text("licence")],
  ];
  const head = element("tr", {}, [element("td", {}), ...chosen.map((each, at) => element("th", { scope: "col" }, [mark({ ...kind(at), hollow: false }), each.title]))]);
  const body = told.map(([title, tell]) => element("tr", {}, [element("th", { scope: "row" }, [title]), ...chosen.map((each) => element("td", {}, tell(each)))]));
  return scrolled("What the entrants are", "facts", head, body);
}

/** For each thing that was asked words and a table, then whatever must be known of the energy. */
export function sections(board: Board, chosen: Entrant[], shared: Group[], came: Came): HTMLElement[] {
  const first = (view: View) => (came.words.get(view) ?? { notes: [`${view.title}: what is said of its energy could not be loaded.`] }).notes[0];
  const notes = [...new Set(shared.flatMap((group) => group.views.map(first)).filter(Boolean))];
  const energy = element("section", {}, [element("h2", {}, ["About the energy"]), element("ul", { class: "notes small" }, notes.map((note) => element("li", {}, [note])))]);
  return [...shared.map((group) => section(board, chosen, group, came)), energy];
}

function section(board: Board, chosen: Entrant[], group: Group, came: Came): HTMLElement {
  const more = group.views.length > 1 ? "" : group.views[0].peculiar;
  return element("section", {}, [
    element("h2", {}, [heading(group)]),
    ...(more ? [element("p", { class: "small" }, [`This view: ${more}.`])] : []),
    ...verdicts(board, chosen, group, came).map((told) => element("p", { class: "verdict" }, [told])),
    table(board, chosen, group),
  ]);
}

function table(board: Board, chosen: Entrant[], group: Group): HTMLElement {
  const apart = group.views.length > 1, [first] = group.views;
  const heads = ["Entrant", ...(apart ? ["Hardware", "Energy from"] : []), `Right answers beyond guessing per Wh${first.rate_unit[0] ? `, ${first.rate_unit[0]}s` : ""}`, `${first.energy_unit[0]} per 1,000 answers`, "Quality", "Rank in the view", "Frontier"];
  const numeric = new Set(heads.slice(apart ? 3 : 1, apart ? 6 : 4));
  const head = element("tr", {}, heads.map((title) => element("th", { scope: "col", class: numeric.has(title) ? "num" : "" }, [title])));
  const body = group.sides.map((side) => element("tr", {}, [
    element("th", { scope: "row" }, [mark({ ...kind(side.at), hollow: side.view.grade === "modelled" }), chosen[side.at].title, ...points(board, side)]),
    ...(apart ? [element("td", { class: "where" }, [side.view.hardware]), element("td", { class: "where" }, [`${energyFrom(side.view)}, ${covers(side.view)}`])] : []),
    scaled(board, side, "rate", first.rate_unit[1]), scaled(board, side, "energy", first.energy_unit[1]), scaled(board, side, "quality", 1),
    ...place(board, side),
  ]));
  return scrolled(`${heading(group)}: figures`, "wide", head, body);
}

function scaled(board: Board, { row }: Side, name: "rate" | "energy" | "quality", factor: number): HTMLElement {
  const [value, low, high] = ([name, `${name}_low`, `${name}_high`] as const).map((each) => figure(board, each, row));
  if (value === null) return two("num", MISSING, "");
  const digits = name === "quality" ? 1 : decimalsFor(value * factor);
  return two("num", fixed(value * factor, digits), low === null || high === null ? "" : span(low * factor, high * factor, digits));
}

/** The quality again, for a telephone, where its column is out of sight. */
function points(board: Board, { row }: Side): HTMLElement[] {
  const quality = figure(board, "quality", row);
  return quality === null ? [] : [element("span", { class: "ci less" }, [`${fixed(quality, 1)} points`])];
}

/** Rank and frontier in the whole view. */
function place(board: Board, { row, view }: Side): HTMLElement[] {
  const [rank, low, high] = (["rank", "rank_low", "rank_high"] as const).map((name) => figure(board, name, row));
  const frontier = named(board, "frontier", row);
  const [text, range] = rankText({ rank, low, high, frontier });
  return [
    element("td", { class: "rank" }, [rank === null ? "not ranked" : `${text} ${range}`.trim(), element("span", { class: "ci" }, [`of ${view.ranked}`])]),
    element("td", {}, [element("span", { class: `mark ${frontier || "none"}` }, [frontier || "not judged"])]),
  ];
}

function scrolled(title: string, kind: string, head: HTMLElement, body: HTMLElement[]): HTMLElement {
  const made = element("table", { class: kind }, [element("caption", {}, [title]), element("thead", {}, [head]), element("tbody", {}, body)]);
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${title}` }, [made]);
}
