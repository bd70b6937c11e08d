/** The leaderboard's page: chooses a view, filters it, and keeps chart, table and address in step. */

import { Chart } from "./chart";
import { fill, nearest } from "./chooser";
import { type Board, figure, named, loaded } from "./data";
import { type Entrant, current, entrants, key } from "./entrants";
import type { Line, Taker } from "./files";
import { count, fixed, memory, short } from "./format";
import { type Place, isWhole, judge } from "./judge";
import { type Pairs, type Words, bring, bringTaker } from "./later";
import { legend } from "./legend";
import { lookOf } from "./looks";
import { choices, element } from "./make";
import { sentence } from "./sentence";
import { type Filter, FRESH, type Hidden, type State, filters, readState, sift, writeState } from "./state";
import { ROWS, drawTable, headings, sorted } from "./table";
import { tell } from "./tell";
import { type Shown, covers, energyFrom, mixed, open, rowsOf, SIDE } from "./views";

const PARAMS = Array.from({ length: 20 }, (_, at) => 10 ** (3 + Math.floor(at / 2)) * (at % 2 ? 3 : 1));
const MEMORY_MB = Array.from({ length: 16 }, (_, at) => 64 * 2 ** at);
const BUDGET_STEPS = 200;
const MOST_COMPARED = 4;

const find = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;

class Page {
  private state!: State;
  private view!: Shown;
  private active: Filter[] = [];
  private hidden: Hidden[] = [];
  private rows: number[] = [];
  private places = new Map<number, Place>();
  /** What compares the rows that are left; null where it could not be loaded, undefined until it has been asked for and has come or failed. */
  private pairs: Pairs | null | undefined;
  /** Of the first view, as the page has them. */
  private firstWords: Words = { finding: find("finding").textContent!, notes: [...find("notes").querySelectorAll("li")].map((note) => note.textContent!) };
  /** Of the whole view. */
  private said: Words = this.firstWords;
  private known: Map<string, Entrant> | null = null;
  private lit: number | null = null;
  private cursor: number | null = null;
  private chart = new Chart(find("chart"));

  constructor(private board: Board) {
    this.read();
    for (const part of document.querySelectorAll<HTMLElement>(".live")) part.hidden = false;
    find<HTMLDetailsElement>("filters").open = !matchMedia("(max-width: 45rem)").matches || location.hash.length > 1;
    this.listen();
    this.open();
  }

  /** Take up the address, and say what of it the board no longer has. */
  private read(): void {
    const { board } = this, state = readState(location.hash, board), wanted = new URLSearchParams(location.hash.slice(1)).get("view");
    const pins = state.pins.map((pin) => current(board, pin, this.entrants)), lost: string[] = [];
    const gone = state.pins.filter((_, at) => !pins[at]), found = pins.filter((each) => each !== null);
    if (wanted !== null && wanted !== state.view) lost.push("The link's view is not on this board any more; this is the board's first.");
    if (state.pins.some((pin, at) => pins[at] && !pin.endsWith(`@${pins[at].run}`))) lost.push("A pinned run was superseded: what took its place is pinned.");
    if (gone.length) lost.push(`Pins that are not on this board any more: ${gone.join(", ")}.`);
    this.state = { ...state, pins: [...new Set(found.map((each) => each.key))] };
    find("lost").textContent = lost.join(" ");
  }

  /** Take up the state: the view's own words and controls, then its rows. */
  private open(): void {
    const { board, state } = this;
    const view = (this.view = open(board, state.view, state.side));
    find("view-title").textContent = view.title;
    find("asked").hidden = !view.peculiar;
    find("asked-told").textContent = view.peculiar;
    this.pairs = undefined;
    void this.say();
    find("files").replaceChildren(...this.files());
    fill(board, view);
    this.controls();
    this.show();
  }

  /** The view's words: nothing until they have come, and never those of another. */
  private async say(): Promise<void> {
    const { board, view } = this, first = view.id === board.views[0].id;
    this.said = mixed(view) ? SIDE : first ? this.firstWords : { finding: "", notes: [] };
    if (mixed(view) || first) return;
    const words = await bring("words", view);
    if (view !== this.view) return;
    this.said = words ?? { finding: "What is said of this view could not be loaded; the page of its task has it.", notes: [] };
    this.speak();
  }

  /** These words or, where filters or a floor leave something else, words about that. */
  private speak(): void {
    const { board, view, rows, places, said: { finding, notes } } = this;
    const whole = mixed(view) || isWhole(view, rows, this.floor);
    find("finding").textContent = whole ? finding : sentence(board, view, rows, places, this.floor);
    find("notes").replaceChildren(
      ...(whole || !notes.length ? [] : [element("p", { class: "small" }, ["About the whole view, without filters:"])]),
      element("ul", { class: "notes small" }, notes.map((note) => element("li", {}, [note]))),
    );
  }

  /** Links to all figures of the views that are shown. */
  private files(): HTMLElement[] {
    const link = (id: string, kind: string) => element("a", { href: `data/${id}.${kind.toLowerCase()}` }, [kind]);
    return this.view.parts.map((each) => element("span", {}, [
      mixed(this.view) ? `${each.hardware}, ${energyFrom(each)}, ${covers(each)}: ` : "All figures of this view: ",
      link(each.id, "JSON"), " ", link(each.id, "CSV"), " ", link(each.id, "Parquet"),
    ]));
  }

  private choose(changed: "task" | "hardware" | "grade", value: string): void {
    this.move({ ...nearest(this.board, this.view, changed, value), page: 1, budget: null, floor: null });
    this.open();
  }

  private controls(): void {
    const { board, state, view } = this;
    const rows = rowsOf(view);
    find<HTMLInputElement>("search").value = state.search;
    const upTo = (id: string, name: "params" | "memory_mb", steps: number[], tell: (value: number) => string, chosen: number | null) => {
      const known = rows.map((row) => figure(board, name, row)).filter((value): value is number => value !== null);
      const most = known.reduce((a, b) => Math.max(a, b), 0), least = known.reduce((a, b) => Math.min(a, b), Infinity);
      const some = new Set(steps.filter((step) => step >= least && step < most).concat(chosen === null ? [] : [chosen]));
      const options = [...some].sort((a, b) => a - b).map((step): [string, string] => [String(step), `up to ${tell(step)}`]);
      choices(find(id), [["", "any"], ...options], chosen === null ? "" : String(chosen));
      find(id).parentElement!.hidden = !some.size;
    };
    upTo("params", "params", PARAMS, (value) => count(value), state.params);
    upTo("memory", "memory_mb", MEMORY_MB, memory, state.memory);
    for (const name of ["licence", "precision"] as const) {
      // "MIT" and "mit" are one choice, as for `rank --licence`.
      const told = rows.map((row) => named(board, name, row)).concat(state[name]).filter(Boolean).sort().reverse();
      const known = [...new Map(told.map((value) => [value.toLowerCase(), value])).values()].sort();
      choices(find(name), [["", "any"], ...known.map((value): [string, string] => [value, value])], known.find((value) => value.toLowerCase() === state[name].toLowerCase()) ?? "");
      find(name).parentElement!.hidden = !known.length;
    }
    find<HTMLInputElement>("floor").value = String(this.floor);
    find("floor").parentElement!.hidden = mixed(view);
    const budget = find<HTMLInputElement>("budget");
    budget.value = String(this.budgetStep());
    budget.parentElement!.hidden = !this.energies();
    this.tellSliders();
  }

  private get floor(): number {
    return this.state.floor ?? this.view.floor;
  }

  private tellSliders(): void {
    const [unit, factor] = this.view.energy_unit;
    const { budget } = this.state;
    find("floor-told").textContent = `${fixed(this.floor, 0)} points`;
    const told = budget === null ? "none" : `${short(budget * factor)} ${unit}`;
    find("budget-told").textContent = told;
    find("floor").setAttribute("aria-valuetext", `${fixed(this.floor, 0)} points`);
    find("budget").setAttribute("aria-valuetext", budget === null ? "no budget" : `${told} per 1,000 answers`);
  }

  /** Logs of the least and the most energy of the view. */
  private energies(): [number, number] | null {
    const known: number[] = [];
    for (const row of rowsOf(this.view)) {
      const value = figure(this.board, "energy", row);
      if (value) known.push(value);
    }
    if (!known.length) return null;
    return [Math.log(known.reduce((a, b) => Math.min(a, b)) * 0.95), Math.log(known.reduce((a, b) => Math.max(a, b)) * 1.05)];
  }

  private budgetAt(step: number): number | null {
    const ends = this.energies();
    if (!ends || step >= BUDGET_STEPS) return null;
    return Number(Math.exp(ends[0] + ((ends[1] - ends[0]) * step) / BUDGET_STEPS).toPrecision(4));
  }

  private budgetStep(): number {
    const ends = this.energies(), { budget } = this.state;
    if (!ends || budget === null) return BUDGET_STEPS;
    const step = Math.round((BUDGET_STEPS * (Math.log(budget) - ends[0])) / (ends[1] - ends[0]));
    return Math.min(BUDGET_STEPS - 1, Math.max(0, step));
  }

  private move(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    find("lost").textContent = "";
    const hash = writeState(this.state, this.board);
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  /** Sift, judge and draw the rows. */
  private show(): void {
    const { board, view, state } = this;
    this.active = filters(board, view, state);
    ({ rows: this.rows, hidden: this.hidden } = sift(view, this.active));
    this.places = mixed(view) ? unranked(this.rows) : judge(board, view, this.rows, this.floor, this.pairs ?? null);
    if (this.pairs === undefined && !this.exact && view.paired) void this.compare();
    find("table").setAttribute("aria-busy", String(this.waits));
    this.rows = sorted({ ...this.told(), rows: this.rows, asRanked: !mixed(view) && this.floor === view.floor });
    const pages = Math.max(1, Math.ceil(this.rows.length / ROWS));
    if (state.page > pages) this.move({ page: pages });
    this.lit = this.cursor = null;
    find("tip").hidden = true;
    find("picture").hidden = !this.rows.some((row) => figure(board, "energy", row) && figure(board, "quality", row) !== null);
    find("rates").hidden = mixed(view);
    this.speak();
    this.draw();
    this.words();
    this.table();
    this.offer();
  }

  /** Whether ranges and frontier are those of the rows that are shown. */
  private get exact(): boolean {
    return mixed(this.view) || isWhole(this.view, this.rows, this.floor) || !!this.pairs || !this.rows.length || !this.view.judged.length;
  }

  private get waits(): boolean {
    return !this.exact && this.view.paired && this.pairs === undefined;
  }

  /** Bring what compares the view's rows, and judge them by it. */
  private async compare(): Promise<void> {
    const { view } = this, pairs = await bring("pairs", view);
    if (view !== this.view || this.pairs !== undefined) return;
    this.pairs = pairs;
    this.show();
  }

  private told() {
    const { board, view, rows, places, state } = this;
    return { board, view, rows, places, page: state.page, pins: this.pins(), sort: state.sort, down: state.down };
  }

  /** All entrants: of tens of thousands they take a while, so not before one is pinned. */
  private get entrants(): Map<string, Entrant> {
    return (this.known ??= entrants(this.board));
  }

  /** The rows shown of whom the reader pinned, in whichever view that was. */
  private pins(): Set<number> {
    const wanted = new Set(this.state.pins.flatMap((pin) => this.view.parts.map((part) => this.entrants.get(pin)?.rows.get(part))));
    return new Set(wanted.size ? this.rows.filter((row) => wanted.has(row)) : []);
  }

  private draw(): void {
    const { board, view, rows, places, state } = this;
    this.chart.draw({ board, view, rows, places, pins: this.pins(), budget: state.budget, floor: this.floor });
    this.chart.light(this.lit);
  }

  private table(): void {
    if (!this.rows.length) return this.empty();
    drawTable(find("table"), this.told(), {
      sort: (column) => this.sort(column),
      pin: (row) => this.pin(row),
      light: (row) => this.light(row, false),
    });
    const { page } = this.state, pages = Math.ceil(this.rows.length / ROWS);
    const turn = (title: string, to: number, able: boolean) => {
      const button = element("button", { type: "button", ...(able ? {} : { disabled: "disabled" }) }, [title]);
      button.addEventListener("click", () => {
        this.move({ page: to });
        this.table();
        this.words();
        find("summary").scrollIntoView();
      });
      return button;
    };
    find("turn").hidden = pages < 2;
    find("turn").replaceChildren(turn("Previous", page - 1, page > 1), turn("Next", page + 1, page < pages), ` page ${page} of ${pages}`);
  }

  /** What hides everything, and a way out of each. */
  private empty(): void {
    find("hidden-by").hidden = true;
    find("turn").hidden = true;
    const said = this.hidden.map((each) => element("li", {}, [
      `${each.filter.says}: hides ${this.hides(each)} `,
      this.drop(each.filter),
    ]));
    find("table").replaceChildren(element("div", { class: "empty" }, [
      element("p", {}, ["No entrant of this view passes all filters:"]), element("ul", {}, said),
    ]));
  }

  private hides({ fails, unknown }: Hidden): string {
    return `${fails + unknown} of ${rowsOf(this.view).length}${unknown ? `, ${unknown} of which do not tell` : ""}`;
  }

  private drop(filter: Filter): HTMLElement {
    const button = element("button", { type: "button", "aria-label": `Drop the filter ${filter.says}` }, ["Drop it"]);
    button.addEventListener("click", () => {
      this.move({ [filter.key]: FRESH[filter.key], page: 1 });
      this.controls();
      this.show();
    });
    return button;
  }

  private words(): void {
    const { rows, places, state, view } = this;
    const whole = isWhole(view, rows, this.floor), on = rows.filter((row) => places.get(row)!.frontier === "on").length;
    const ranked = rows.filter((row) => places.get(row)!.rank !== null).length;
    const all = rowsOf(view).length, first = rows.length ? (state.page - 1) * ROWS + 1 : 0;
    const last = Math.min(state.page * ROWS, rows.length), total = rows.length === all ? "" : ` (${fixed(all, 0)} in this view)`;
    find("summary").textContent = !rows.length ? `No entrants${total}.` : `${fixed(first, 0)}–${fixed(last, 0)} of ${fixed(rows.length, 0)} entrants${total}; ${mixed(view) ? "nothing is ranked" : `${fixed(ranked, 0)} ranked, ${this.exact ? `${fixed(on, 0)} ${whole ? "" : "surely "}on the frontier` : "frontier unknown"}`}.`;
    const said = this.hidden.map((each) => `${each.filter.says} hides ${this.hides(each)}`);
    if (!this.exact) said.push(`~ ranges of ranks and the frontier are not known${!view.paired ? ": the view is too large to compare anew" : this.waits ? " until these rows are compared anew" : ": what compares these rows anew could not be loaded"}`);
    find("hidden-by").hidden = !said.length;
    find("hidden-by").textContent = said.length ? `${said.join("; ")}.`.replace(/^./, (letter) => letter.toUpperCase()) : "";
    this.legend();
  }

  private legend(): void {
    const looks = this.rows.map((row) => lookOf(this.view, row, this.places.get(row)!));
    find("legend").replaceChildren(...legend(looks, this.rows.some((row) => this.places.get(row)!.frontier)));
    const [least, most] = [this.rows[0], this.rows[this.rows.length - 1]];
    find("chart").setAttribute("aria-label", least === undefined ? "Nothing to draw" : `Quality against energy of ${this.rows.length} entrants, from ${named(this.board, "label", least)} to ${named(this.board, "label", most)} as the table has them`);
  }

  private sort(column: string): void {
    const heading = headings(this.board, this.view, this.places).find((each) => each.key === column)!;
    const again = this.state.sort === column;
    this.move({ sort: column, down: again ? !this.state.down : heading.most, page: 1 });
    this.rows = sorted({ ...this.told(), rows: [...this.rows].sort((a, b) => a - b), asRanked: !mixed(this.view) && this.floor === this.view.floor });
    this.table();
    this.words();
  }

  private pin(row: number): void {
    const own = this.entrants.get(key(this.board, row))!.key, { pins } = this.state;
    this.move({ pins: pins.includes(own) ? pins.filter((each) => each !== own) : [...pins, own] });
    this.draw();
    this.table();
    this.offer();
  }

  /** A link that compares what is pinned. */
  private offer(): void {
    const { pins } = this.state, link = find<HTMLAnchorElement>("compare");
    link.hidden = !pins.length;
    link.textContent = pins.length > MOST_COMPARED ? `Compare the first ${MOST_COMPARED} pinned` : "Compare pinned";
    link.href = `compare.html#${new URLSearchParams(pins.slice(0, MOST_COMPARED).map((pin) => ["pin", pin]))}`;
  }

  /** Mark a row in chart and table; `near` puts its figures beside its point. */
  private light(row: number | null, near: boolean): void {
    if (row === this.lit) return;
    this.lit = row;
    for (const line of find("table").querySelectorAll<HTMLElement>("tr[data-row]")) {
      line.classList.toggle("lit", near && line.dataset.row === String(row));
    }
    this.chart.light(row);
    const tip = find("tip"), spot = row === null ? null : this.chart.spot(row);
    tip.hidden = !near || !spot;
    if (row === null || !spot || !near) return;
    tip.replaceChildren(element("b", {}, [named(this.board, "label", row)]), ...tell(this.board, this.view, row, this.places.get(row)!).map((text) => element("span", {}, [text, document.createElement("br")])));
    const { width, height } = tip.getBoundingClientRect(), { x, y } = this.chart.clear(spot, width, height);
    tip.style.transform = `translate(${x}px, ${y}px)`;
  }

  private listen(): void {
    const chart = find("chart");
    const set = (change: Partial<State>) => {
      this.move({ ...change, page: 1 });
      this.show();
    };
    for (const name of ["task", "hardware", "grade"] as const) find<HTMLSelectElement>(name).addEventListener("change", (event) => this.choose(name, (event.target as HTMLSelectElement).value));
    find<HTMLSelectElement>("variant").addEventListener("change", (event) => {
      this.move({ view: (event.target as HTMLSelectElement).value, page: 1, budget: null, floor: null });
      this.open();
    });
    find("controls").addEventListener("submit", (event) => event.preventDefault());
    find<HTMLInputElement>("search").addEventListener("input", (event) => set({ search: (event.target as HTMLInputElement).value.trim() }));
    for (const name of ["params", "memory"] as const) {
      find<HTMLSelectElement>(name).addEventListener("change", (event) => set({ [name]: Number((event.target as HTMLSelectElement).value) || null }));
    }
    for (const name of ["licence", "precision"] as const) {
      find<HTMLSelectElement>(name).addEventListener("change", (event) => set({ [name]: (event.target as HTMLSelectElement).value }));
    }
    find<HTMLInputElement>("floor").addEventListener("input", (event) => {
      const floor = Number((event.target as HTMLInputElement).value);
      set({ floor: floor === this.view.floor ? null : floor });
      this.tellSliders();
    });
    find<HTMLInputElement>("budget").addEventListener("input", (event) => {
      set({ budget: this.budgetAt(Number((event.target as HTMLInputElement).value)) });
      this.tellSliders();
    });
    find("clear").addEventListener("click", () => {
      this.move({ ...FRESH, view: this.state.view, side: this.state.side, pins: this.state.pins });
      this.controls();
      this.show();
    });
    find("copy").addEventListener("click", () => void this.copy());
    find("csv").addEventListener("click", () => void this.take("csv"));
    find("json").addEventListener("click", () => void this.take("json"));
    chart.addEventListener("pointermove", (event) => this.light(this.near(event), true));
    chart.addEventListener("pointerleave", () => this.light(null, true));
    chart.addEventListener("click", (event) => {
      const row = this.near(event);
      if (row !== null) this.pin(row);
    });
    chart.addEventListener("keydown", (event) => this.key(event));
    chart.addEventListener("blur", () => this.light(null, true));
    window.addEventListener("hashchange", () => {
      this.read();
      this.open();
    });
    new ResizeObserver(() => this.draw()).observe(chart);
    window.addEventListener("themechange", () => this.draw());
    for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => this.draw());
  }

  private near(event: MouseEvent): number | null {
    const room = find("chart").getBoundingClientRect();
    return this.chart.at(event.clientX - room.left, event.clientY - room.top);
  }

  /** Arrow keys go from point to point by energy; Home, End, Enter and Escape do what they say. */
  private key(event: KeyboardEvent): void {
    const order = this.chart.order();
    if (!order.length) return;
    const at = this.cursor === null ? -1 : order.indexOf(this.cursor);
    const steps: Record<string, number> = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: order.length - 1 };
    if (event.key in steps) this.cursor = order[Math.max(0, Math.min(order.length - 1, steps[event.key]))];
    else if ((event.key === "Enter" || event.key === " ") && this.cursor !== null) this.pin(this.cursor);
    else if (event.key === "Escape") this.cursor = null;
    else return;
    event.preventDefault();
    this.light(this.cursor, true);
    find("said").textContent = this.cursor === null ? "" : `${named(this.board, "label", this.cursor)}: ${tell(this.board, this.view, this.cursor, this.places.get(this.cursor)!).join(", ")}`;
  }

  private async copy(): Promise<void> {
    const button = find("copy");
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  }

  private fileName(): string {
    return this.view.id + (mixed(this.view) ? "-beside" : "");
  }

  /** Hand the rows that are shown to the reader, as a file. */
  private async take(kind: "csv" | "json"): Promise<void> {
    const taker = await bringTaker();
    if (!taker) {
      find(kind).textContent = "It could not be loaded";
      return;
    }
    const told = this.lines(taker), name = `joulemark-${this.fileName()}.${kind}`;
    if (kind === "csv") taker.save(name, "text/csv", taker.asCsv(told));
    else taker.save(name, "application/json", this.asJson(told));
  }

  private lines({ lines }: Taker): Line[] {
    const { board, view, rows, places, exact } = this;
    return lines(board, view, rows, places, { exact, frontier_exact: mixed(view) || isWhole(view, rows, this.floor) });
  }

  private asJson(rows: Line[]): string {
    const { view } = this;
    const told = { schema: "joulemark.board-view/1", view: view.id, task: view.task, hardware: view.hardware, grade: view.grade, quality_floor: mixed(view) ? null : this.floor, filters: this.active.map((each) => each.says), rows };
    return JSON.stringify(told, null, 1) + "\n";
  }
}

/** Rows of several views: no rank, and no place on a frontier. */
function unranked(rows: number[]): Map<number, Place> {
  return new Map(rows.map((row) => [row, { rank: null, low: null, high: null, frontier: "" }]));
}

const board = loaded();
if (board) new Page(board);
