/** Quality against energy: points on a canvas, so that thousands are quick, and words above it in SVG. */

import { type Board, type Figure, figure, named } from "./data";
import { short } from "./format";
import type { Place } from "./judge";
import { type Look, type Tone, lookOf, path } from "./looks";
import { vector } from "./make";
import { type Shown, mixed } from "./views";

export interface Drawn {
  board: Board;
  view: Shown;
  rows: number[];
  places: Map<number, Place>;
  pins: Set<number>;
  budget: number | null;
  floor: number;
}

interface Frame {
  left: number;
  top: number;
  right: number;
  bottom: number;
  x: (wh: number) => number;
  y: (quality: number) => number;
  from: number;
  to: number;
  low: number;
  high: number;
}

const MOST_NAMED = 14;
const NEAR = 24;
const SIZE = 5.5, SMALL = 3.5, STAMP = 12;
/** So many points get bars and full strength each. */
const CROWD = 60;
/** How far the frame goes beyond the points for their intervals, as a ratio of energies; and below 0 in quality. */
const WIDEST = 3, LOWEST = 20;

/** A chart in its box; `draw` shows other rows, `at` tells which is near a spot, `order` is theirs for arrow keys. */
export class Chart {
  private spots: { row: number; x: number; y: number }[] = [];
  private drawn: Drawn | null = null;
  private names = new Set<number>();
  private ink!: Ink;

  constructor(private box: HTMLElement) {}

  draw(drawn: Drawn): void {
    this.drawn = drawn;
    const { width, height } = this.box.getBoundingClientRect();
    if (!width) return;
    const [pen] = this.pens(width, height), svg = this.box.querySelector("svg")!;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const points = drawn.rows.filter((row) => figure(drawn.board, "energy", row) && figure(drawn.board, "quality", row) !== null);
    const frame = makeFrame(drawn, points, width, height);
    this.spots = points.map((row) => ({
      row,
      x: frame.x(figure(drawn.board, "energy", row)!),
      y: frame.y(figure(drawn.board, "quality", row)!),
    }));
    const ink = (this.ink = colours(this.box));
    drawGrid(pen, svg, drawn, frame, ink);
    if (!points.length) return;
    const front = this.front();
    drawSteps(pen, front, frame, ink);
    this.drawPoints(pen, drawn, frame, ink, front);
    this.drawNames(svg, drawn, frame, front);
  }

  /** Mark one row, above the others, which stay as they are: they may be many. */
  light(row: number | null): void {
    const over = this.box.querySelectorAll("canvas")[1], pen = over.getContext("2d")!;
    pen.clearRect(0, 0, over.width, over.height);
    this.box.querySelector("svg .lit")?.remove();
    const spot = row === null ? null : this.spot(row);
    if (row === null || !spot || !this.drawn) return;
    const { width } = this.box.getBoundingClientRect();
    drawPoint(pen, spot, lookOf(this.drawn.view, row, this.drawn.places.get(row)!), this.ink);
    ring(pen, spot, this.ink);
    if (this.names.has(row)) return;
    const right = spot.x > width / 2;
    words(this.box.querySelector("svg")!, "name lit", spot.x + (right ? -13 : 13), spot.y - 12, named(this.drawn.board, "label", row), right ? "end" : "start");
  }

  /** The row nearest to a spot of the box, if one is near. */
  at(x: number, y: number): number | null {
    let best: number | null = null, least = NEAR * NEAR;
    for (const spot of this.spots) {
      const far = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (far < least) [best, least] = [spot.row, far];
    }
    return best;
  }

  spot(row: number): { x: number; y: number } | null {
    return this.spots.find((each) => each.row === row) ?? null;
  }

  /** Where a box beside a spot covers as few other points as can be, inside of the chart. */
  clear(spot: { x: number; y: number }, w: number, h: number): { x: number; y: number } {
    const { width, height } = this.box.getBoundingClientRect(), right = spot.x + 14, left = spot.x - 14 - w;
    const tops = [spot.y - h / 2, spot.y - 14 - h, spot.y + 14];
    const ways = [...tops.map((y) => [right, y]), ...tops.map((y) => [left, y]), ...tops.slice(1).map((y) => [spot.x - w / 2, y])];
    const boxes = ways.map(([x, y]) => ({ x: Math.max(0, Math.min(x, width - w)), y: Math.max(0, Math.min(y, height - h)), w, h }));
    const near = this.spots.filter(({ x, y }) => Math.abs(x - spot.x) < 2 * w && Math.abs(y - spot.y) < 2 * h);
    const covers = (box: Box) => near.filter(({ x, y }) => overlap({ x: x - 6, y: y - 6, w: 12, h: 12 }, box)).length;
    const counts = boxes.map(covers);
    return boxes[counts.indexOf(Math.min(...counts))];
  }

  /** Rows from the least energy to the most. */
  order(): number[] {
    return [...this.spots].sort((a, b) => a.x - b.x || a.y - b.y).map((spot) => spot.row);
  }

  /** Pens of the points and of what is marked, for a clean sheet of that size. */
  private pens(width: number, height: number): CanvasRenderingContext2D[] {
    const scale = window.devicePixelRatio || 1;
    return [...this.box.querySelectorAll("canvas")].map((canvas) => {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      const pen = canvas.getContext("2d")!;
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      return pen;
    });
  }

  private front(): { row: number; x: number; y: number }[] {
    const { board, view } = this.drawn!;
    if (mixed(view)) return [];
    const judged = this.spots.filter((spot) => named(board, "frontier", spot.row));
    const found: typeof judged = [];
    for (const spot of judged.sort((a, b) => a.x - b.x || a.y - b.y)) {
      if (!found.length || spot.y < found[found.length - 1].y) found.push(spot);
    }
    return found;
  }

  /** Crowds first, small, pale and without bars; then the frontier, then what is pinned. */
  private drawPoints(pen: CanvasRenderingContext2D, drawn: Drawn, frame: Frame, ink: Ink, front: { row: number }[]): void {
    const first = new Set(front.map((spot) => spot.row)), few = this.spots.length < CROWD;
    const look = (row: number) => lookOf(drawn.view, row, drawn.places.get(row)!);
    const leads = (row: number) => few || first.has(row) || drawn.pins.has(row);
    const stamp = stamper(ink);
    pen.globalAlpha = 0.6;
    for (const spot of this.spots) {
      if (!leads(spot.row)) pen.drawImage(stamp(look(spot.row)), spot.x - STAMP / 2, spot.y - STAMP / 2, STAMP, STAMP);
    }
    pen.globalAlpha = 1;
    const weight = (row: number) => (drawn.pins.has(row) ? 2 : first.has(row) ? 1 : 0);
    const named = this.spots.filter((each) => leads(each.row)).sort((a, b) => weight(a.row) - weight(b.row));
    for (const spot of named) drawBars(pen, drawn, spot, frame, ink.paper, ink[look(spot.row).tone]);
    for (const spot of named) {
      const own = look(spot.row);
      drawPoint(pen, spot, own, ink);
      if (drawn.pins.has(spot.row)) ring(pen, spot, ink);
    }
  }

  /** Names of pinned rows and of the frontier or, where there is none, of the first; each where it covers nothing, or not at all. */
  private drawNames(svg: SVGElement, drawn: Drawn, frame: Frame, front: { row: number }[]): void {
    const wanted = [...new Set([...drawn.pins, ...(mixed(drawn.view) ? drawn.rows.slice(0, MOST_NAMED) : front.map((spot) => spot.row))])];
    const taken = this.spots.length < 300 ? this.spots.map(({ x, y }) => ({ x: x - 6, y: y - 6, w: 12, h: 12 })) : [];
    this.names.clear();
    for (const row of wanted) {
      const spot = this.spot(row);
      if (!spot || this.names.size >= MOST_NAMED) continue;
      const text = words(svg, "name", spot.x, spot.y, named(drawn.board, "label", row));
      const width = text.getComputedTextLength();
      const room = [[-width - 10, -5], [10, 14], [10, -7], [-width - 10, 14], [-width / 2, -13], [-width / 2, 23], [-width - 16, -20], [16, 28],
        [-width - 30, -34], [24, 40], [-width / 2, 46], [24, -34], [-width - 30, 44], [30, 62], [-width / 2, 66]]
        .map(([dx, dy]) => ({ x: spot.x + dx, y: spot.y + dy - 11, w: width, h: 14 }))
        .find((box) => box.x > frame.left + 2 && box.x + box.w < frame.right && box.y > frame.top - 8 && box.y + box.h < frame.bottom
          && !taken.some((other) => overlap(box, other)));
      if (!room) {
        text.remove();
        continue;
      }
      this.names.add(row);
      taken.push(room);
      lead(svg, spot, room);
      text.setAttribute("x", String(room.x));
      text.setAttribute("y", String(room.y + 11));
    }
  }
}

function drawPoint(pen: CanvasRenderingContext2D, spot: { x: number; y: number }, look: Look, ink: Ink, size = SIZE): void {
  const drawn = new Path2D();
  drawn.addPath(new Path2D(path(look.shape, size)), { e: spot.x, f: spot.y });
  pen.strokeStyle = ink[look.tone];
  pen.fillStyle = look.hollow ? ink.paper : ink[look.tone];
  pen.lineWidth = 1.6;
  if (look.shape !== "cross") pen.fill(drawn);
  pen.stroke(drawn);
}

/** A small picture of each look: tens of thousands of these are drawn faster than as many paths. */
function stamper(ink: Ink): (look: Look) => HTMLCanvasElement {
  const made = new Map<string, HTMLCanvasElement>();
  return (look) => {
    const name = look.shape + look.tone + look.hollow, known = made.get(name);
    if (known) return known;
    const sheet = document.createElement("canvas");
    sheet.width = sheet.height = STAMP * 2;
    const pen = sheet.getContext("2d")!;
    pen.scale(2, 2);
    drawPoint(pen, { x: STAMP / 2, y: STAMP / 2 }, look, ink, SMALL);
    made.set(name, sheet);
    return sheet;
  };
}

function ring(pen: CanvasRenderingContext2D, spot: { x: number; y: number }, ink: Ink): void {
  pen.strokeStyle = ink.ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(spot.x, spot.y, SIZE + 5, 0, 7);
  pen.stroke();
}

type Ink = Record<"ink" | "muted" | "grid" | "paper" | Tone, string>;

/** The style sheet's colours as they are now; a canvas knows neither variables nor schemes. */
function colours(box: HTMLElement): Ink {
  const read = (name: string) => {
    box.style.color = `var(--${name})`;
    return getComputedStyle(box).color;
  };
  const found = Object.fromEntries(["ink", "muted", "grid", "paper", "front", "on", "unclear", "dominated", "none"].map((name) => [name, read(name)]));
  box.style.color = "";
  return found as Ink;
}

function makeFrame(drawn: Drawn, points: number[], width: number, height: number): Frame {
  const { board } = drawn;
  // Those of energy are drawn of a few; one that is far wider than the points lie apart shall not push them together.
  const all = (name: "energy" | "quality") => points.map((row) => figure(board, name, row)!);
  const ends = (...names: Figure[]) => names.flatMap((name) => points.map((row) => figure(board, name, row) ?? NaN)).filter((value) => value > -LOWEST);
  const few = points.length < CROWD;
  const own = all("energy"), floor = own.reduce((a, b) => Math.min(a, b), Infinity) / WIDEST, roof = own.reduce((a, b) => Math.max(a, b), 0) * WIDEST;
  const energies = own.concat((few ? ends("energy_low", "energy_high") : []).map((value) => Math.max(floor, Math.min(roof, value))));
  const qualities = all("quality").concat(ends("quality_high"), few ? ends("quality_low") : []);
  const least = energies.reduce((a, b) => Math.min(a, b), Infinity), most = energies.reduce((a, b) => Math.max(a, b), 0);
  const [from, to] = points.length ? [Math.log10(least), Math.log10(most)] : [-1, 1];
  const pad = Math.max(0.12, (to - from) * 0.07);
  const low = qualities.reduce((a, b) => Math.min(a, b), 0);
  const high = Math.min(105, Math.ceil((qualities.reduce((a, b) => Math.max(a, b), 10) + 4) / 10) * 10);
  const frame = { left: 46, top: 26, right: width - 12, bottom: height - 44, from: from - pad, to: to + pad, low: low - 2, high };
  return {
    ...frame,
    x: (wh) => frame.left + ((Math.log10(wh) - frame.from) / (frame.to - frame.from)) * (frame.right - frame.left),
    y: (quality) => frame.bottom - ((quality - frame.low) / (frame.high - frame.low)) * (frame.bottom - frame.top),
  };
}

function drawGrid(pen: CanvasRenderingContext2D, svg: SVGElement, drawn: Drawn, frame: Frame, ink: Ink): void {
  const [unit, factor] = drawn.view.energy_unit;
  pen.lineWidth = 1;
  pen.strokeStyle = ink.grid;
  const step = frame.bottom - frame.top < 280 ? 25 : 20;
  for (let quality = Math.ceil(frame.low / step) * step; quality <= Math.min(100, frame.high); quality += step) {
    line(pen, frame.left, frame.y(quality), frame.right, frame.y(quality));
    words(svg, "", frame.left - 8, frame.y(quality) + 4, String(quality), "end");
  }
  let last = -Infinity;
  for (const [value, digits] of ticks(10 ** frame.from * factor, 10 ** frame.to * factor)) {
    const x = frame.x(value / factor);
    if (x < frame.left + 8 || x > frame.right - 8 || x - last < 52) continue;
    last = x;
    line(pen, x, frame.top, x, frame.bottom);
    words(svg, "", x, frame.bottom + 17, short(value, digits), "middle");
  }
  const middle = (frame.left + frame.right) / 2;
  const more = frame.right - frame.left > 400 ? ", log scale (less is better)" : " (log scale)";
  words(svg, "", middle, frame.bottom + 36, `${unit} per 1,000 answers${more}`, "middle");
  words(svg, "", 4, 13, "Quality, points (more is better)");
  // Rates of different hardware cannot be compared.
  if (!mixed(drawn.view)) drawRates(pen, svg, frame, ink);
  for (const [on, x1, y1, x2, y2] of limits(drawn, frame)) {
    if (!on) continue;
    pen.strokeStyle = ink.muted;
    pen.setLineDash([6, 4]);
    line(pen, x1, y1, x2, y2);
    pen.setLineDash([]);
  }
}

/** The quality floor and the budget, where they lie inside. */
function limits(drawn: Drawn, frame: Frame): [boolean, number, number, number, number][] {
  const y = frame.y(drawn.floor), x = drawn.budget ? frame.x(drawn.budget) : 0;
  return [
    [!mixed(drawn.view) && drawn.floor > frame.low && drawn.floor < frame.high, frame.left, y, frame.right, y],
    [x > frame.left && x < frame.right, x, frame.top, x, frame.bottom],
  ];
}

/** Curves of equal right answers per watt-hour, each named where it leaves the frame. */
function drawRates(pen: CanvasRenderingContext2D, svg: SVGElement, frame: Frame, ink: Ink): void {
  const least = Math.ceil(Math.log10((10 * 20) / 10 ** frame.to)), most = Math.floor(Math.log10((10 * frame.high) / 10 ** frame.from));
  let last = -Infinity;
  for (let power = most; power >= least; power--) {
    const end = frame.x((10 * frame.high) / 10 ** power);
    pen.strokeStyle = ink.muted;
    pen.globalAlpha = 0.55;
    pen.setLineDash([1, 4]);
    pen.beginPath();
    for (let at = 0; at <= 60; at++) {
      const x = frame.left + ((frame.right - frame.left) * at) / 60;
      const wh = 10 ** (frame.from + ((frame.to - frame.from) * at) / 60), quality = (10 ** power * wh) / 10;
      if (quality > frame.high || quality < frame.low) continue;
      pen.lineTo(x, frame.y(quality));
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    const label = `${power < 6 ? short(10 ** power, 1) : `${short(10 ** (power - 6), 1)} million`} per Wh`;
    if (end > last + 110 && end > 260 && end < frame.right - 40) {
      words(svg, "", end, frame.top - 6, label, "middle");
      last = end;
    }
    // What leaves at the right is named there.
    const leaves = (10 ** power * 10 ** frame.to) / 10;
    if (end >= frame.right - 40 && leaves > frame.low && leaves < frame.high) words(svg, "", frame.right, frame.y(leaves) - 6, label, "end");
  }
}

function drawSteps(pen: CanvasRenderingContext2D, front: { x: number; y: number }[], frame: Frame, ink: Ink): void {
  if (!front.length) return;
  pen.strokeStyle = ink.front;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(front[0].x, frame.bottom);
  front.forEach((spot, at) => {
    if (at) pen.lineTo(spot.x, front[at - 1].y);
    pen.lineTo(spot.x, spot.y);
  });
  pen.lineTo(frame.right, front[front.length - 1].y);
  pen.stroke();
}

/** With an edge of paper, so that they are seen where they lie on the frontier's line. */
function drawBars(pen: CanvasRenderingContext2D, drawn: Drawn, spot: { row: number; x: number; y: number }, frame: Frame, paper: string, tone: string): void {
  const [low, high, left, right] = (["quality_low", "quality_high", "energy_low", "energy_high"] as const).map((name) => figure(drawn.board, name, spot.row));
  for (const [colour, width] of [[paper, 3.6], [tone, 1.6]] as [string, number][]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    if (low !== null && high !== null) line(pen, spot.x, frame.y(Math.max(low, frame.low)), spot.x, frame.y(Math.min(high, frame.high)));
    if (left && right) line(pen, Math.max(frame.left, frame.x(left)), spot.y, Math.min(frame.right, frame.x(right)), spot.y);
  }
}

/** Values to mark on a log scale, each with its digits. */
function ticks(from: number, to: number): [number, number][] {
  const found: [number, number][] = [];
  const steps = to / from > 300 ? [1] : to / from > 12 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 7];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) found.push(...steps.map((step): [number, number] => [step * 10 ** power, step % 1 ? 2 : 1]));
  return found.filter(([value]) => value >= from && value <= to);
}

function line(pen: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function words(svg: SVGElement, kind: string, x: number, y: number, text: string, anchor = "start"): SVGTextElement {
  const made = vector("text", { ...(kind ? { class: kind } : {}), x, y, "text-anchor": anchor }, [text]);
  svg.append(made);
  return made as SVGTextElement;
}

/** A line from a point to its name, where that is not beside it. */
function lead(svg: SVGElement, spot: { x: number; y: number }, box: Box): void {
  const x = Math.max(box.x, Math.min(spot.x, box.x + box.w)), y = Math.max(box.y + 1, Math.min(spot.y, box.y + box.h));
  if (Math.hypot(x - spot.x, y - spot.y) < 18) return;
  svg.prepend(vector("line", { x1: spot.x, y1: spot.y, x2: x, y2: y }));
}

interface Box { x: number; y: number; w: number; h: number }

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
