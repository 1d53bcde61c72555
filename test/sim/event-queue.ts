/**
 * Virtual time: what happens next. Things of one time come in the order they were put in. What is due soon is in a
 * four-way heap; what is due later waits in lists by spans of time, so that the heap stays small and near at hand
 * however many timers there are. All of an item is in one place, and `pop` leaves it in the queue's own fields, so that
 * a step costs no object. Source of the lists: Brown, "Calendar Queues" (1988).
 * Not here: what a kind means (simulator.ts).
 */

const FIRST_CAPACITY = 1024;
const WIDTH = 4;
const SPAN_MS = 4;
/** Lists that there are; what is further ahead is looked over once for each half of them. */
const SPANS_COUNT = 2 ** 14;
const NONE = -1;
/** An item's numbers, side by side: a line of the processor's cache. */
const FIELDS_COUNT = 8;
const [AT, ORDER, KIND, HOST, LIFE, A, B, NEXT] = [0, 1, 2, 3, 4, 5, 6, 7];

export class EventQueue {
  /** The item that was popped last. */
  at_ms = 0;
  kind = 0;
  /** Number of a host; -1 for what concerns none. */
  host = -1;
  /** The life of the host that it is meant for. */
  life = 0;
  a = 0;
  b = 0;
  ref: unknown = null;
  body: unknown = null;

  #size = 0;
  #pushed_count = 0;
  /** Of slots. */
  #capacity = 0;
  #items = new Float64Array(0);
  /** Two for each slot: `ref` and `body`. */
  readonly #refs: unknown[] = [];
  /** Slots that are free, each with the next. */
  #free = NONE;
  /** The heap: what is due in this span or before it. */
  #heap_size = 0;
  #span = 0;
  #times = new Float64Array(FIRST_CAPACITY);
  #orders = new Float64Array(FIRST_CAPACITY);
  #slots = new Int32Array(FIRST_CAPACITY);
  /** The lists of the spans after it, and of what is beyond them all. */
  readonly #spans = new Int32Array(SPANS_COUNT).fill(NONE);
  #beyond = NONE;
  #beyondSeen_span = 0;

  get size(): number {
    return this.#size;
  }

  /** The time of the next item; Infinity when there is none. */
  get next_ms(): number {
    if (this.#size === 0) return Number.POSITIVE_INFINITY;
    while (this.#heap_size === 0) this.#enterNextSpan();
    return this.#times[0]!;
  }

  /** @throws RangeError for a time that does not come. */
  push(
    at_ms: number,
    kind: number,
    host: number,
    life: number,
    a: number,
    b: number,
    ref: unknown,
    body: unknown,
  ): void {
    if (!(at_ms < Number.MAX_SAFE_INTEGER)) throw new RangeError(`no time: ${at_ms}`);
    if (this.#free === NONE) this.#grow();
    const slot = this.#free;
    const items = this.#items;
    const from = slot * FIELDS_COUNT;
    this.#free = items[from + NEXT]!;
    this.#pushed_count += 1;
    items[from + AT] = at_ms;
    items[from + ORDER] = this.#pushed_count;
    items[from + KIND] = kind;
    items[from + HOST] = host;
    items[from + LIFE] = life;
    items[from + A] = a;
    items[from + B] = b;
    this.#refs[2 * slot] = ref;
    this.#refs[2 * slot + 1] = body;
    this.#size += 1;
    this.#place(slot);
  }

  /** Moves the next item into the fields. @returns false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    while (this.#heap_size === 0) this.#enterNextSpan();
    const slot = this.#slots[0]!;
    const items = this.#items;
    const from = slot * FIELDS_COUNT;
    this.at_ms = items[from + AT]!;
    this.kind = items[from + KIND]!;
    this.host = items[from + HOST]!;
    this.life = items[from + LIFE]!;
    this.a = items[from + A]!;
    this.b = items[from + B]!;
    this.ref = this.#refs[2 * slot];
    this.body = this.#refs[2 * slot + 1];
    this.#refs[2 * slot] = null;
    this.#refs[2 * slot + 1] = null;
    items[from + NEXT] = this.#free;
    this.#free = slot;
    this.#size -= 1;
    this.#heap_size -= 1;
    const last = this.#heap_size;
    if (last > 0) this.#sink(this.#times[last]!, this.#orders[last]!, this.#slots[last]!);
    return true;
  }

  #place(slot: number): void {
    const from = slot * FIELDS_COUNT;
    const span = Math.floor(this.#items[from + AT]! / SPAN_MS);
    if (span <= this.#span) {
      this.#rise(this.#items[from + AT]!, this.#items[from + ORDER]!, slot);
    } else if (span < this.#span + SPANS_COUNT) {
      const list = span % SPANS_COUNT;
      this.#items[from + NEXT] = this.#spans[list]!;
      this.#spans[list] = slot;
    } else {
      this.#items[from + NEXT] = this.#beyond;
      this.#beyond = slot;
    }
  }

  #placeAll(first: number): void {
    for (let slot = first; slot !== NONE; ) {
      const next = this.#items[slot * FIELDS_COUNT + NEXT]!;
      this.#place(slot);
      slot = next;
    }
  }

  #enterNextSpan(): void {
    this.#span += 1;
    const list = this.#span % SPANS_COUNT;
    const first = this.#spans[list]!;
    this.#spans[list] = NONE;
    this.#placeAll(first);
    if (this.#span < this.#beyondSeen_span + SPANS_COUNT / 2) return;
    this.#beyondSeen_span = this.#span;
    const beyond = this.#beyond;
    this.#beyond = NONE;
    this.#placeAll(beyond);
  }

  #rise(time: number, order: number, slot: number): void {
    if (this.#heap_size === this.#times.length) this.#growHeap();
    const times = this.#times;
    const orders = this.#orders;
    let at = this.#heap_size;
    this.#heap_size += 1;
    while (at > 0) {
      const parent = ((at - 1) / WIDTH) | 0;
      const difference = times[parent]! - time;
      if (difference < 0 || (difference === 0 && orders[parent]! < order)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, time, order, slot);
  }

  #sink(time: number, order: number, slot: number): void {
    const times = this.#times;
    const orders = this.#orders;
    const size = this.#heap_size;
    let at = 0;
    for (;;) {
      const first = at * WIDTH + 1;
      if (first >= size) break;
      const end = Math.min(first + WIDTH, size);
      let least = first;
      for (let child = first + 1; child < end; child += 1) {
        const difference = times[child]! - times[least]!;
        if (difference < 0 || (difference === 0 && orders[child]! < orders[least]!)) least = child;
      }
      const difference = times[least]! - time;
      if (difference > 0 || (difference === 0 && orders[least]! > order)) break;
      this.#move(least, at);
      at = least;
    }
    this.#put(at, time, order, slot);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from]!, this.#orders[from]!, this.#slots[from]!);
  }

  #put(at: number, time: number, order: number, slot: number): void {
    this.#times[at] = time;
    this.#orders[at] = order;
    this.#slots[at] = slot;
  }

  #grow(): void {
    const before = this.#capacity;
    this.#capacity = Math.max(FIRST_CAPACITY, before * 2);
    this.#items = wider(this.#items, new Float64Array(this.#capacity * FIELDS_COUNT));
    while (this.#refs.length < 2 * this.#capacity) this.#refs.push(null);
    for (let slot = this.#capacity - 1; slot >= before; slot -= 1) {
      this.#items[slot * FIELDS_COUNT + NEXT] = this.#free;
      this.#free = slot;
    }
  }

  #growHeap(): void {
    const capacity = this.#times.length * 2;
    this.#times = wider(this.#times, new Float64Array(capacity));
    this.#orders = wider(this.#orders, new Float64Array(capacity));
    this.#slots = wider(this.#slots, new Int32Array(capacity));
  }
}

function wider<T extends Float64Array | Int32Array>(array: T, made: T): T {
  made.set(array);
  return made;
}
