/**
 * Virtual time: what happens next. A four-way heap over typed arrays, by time; things of one time come in the order
 * they were put in. `pop` leaves the item in the queue's own fields, so that a step costs no object.
 * Not here: what a kind means (simulator.ts).
 */

const FIRST_CAPACITY = 1024;
const WIDTH = 4;

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
  #capacity = FIRST_CAPACITY;
  /** By place in the heap. */
  #times = new Float64Array(FIRST_CAPACITY);
  #orders = new Float64Array(FIRST_CAPACITY);
  #slots = new Int32Array(FIRST_CAPACITY);
  /** By slot. */
  #kinds = new Uint8Array(FIRST_CAPACITY);
  #hosts = new Int32Array(FIRST_CAPACITY);
  #lives = new Int32Array(FIRST_CAPACITY);
  #as = new Float64Array(FIRST_CAPACITY);
  #bs = new Float64Array(FIRST_CAPACITY);
  readonly #refs: unknown[] = [];
  readonly #bodies: unknown[] = [];
  #free = Int32Array.from({ length: FIRST_CAPACITY }, (_, at) => at);

  get size(): number {
    return this.#size;
  }

  /** The time of the next item; Infinity when there is none. */
  get next_ms(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!;
  }

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
    if (this.#size === this.#capacity) this.#grow();
    const slot = this.#free[this.#capacity - 1 - this.#size]!;
    this.#kinds[slot] = kind;
    this.#hosts[slot] = host;
    this.#lives[slot] = life;
    this.#as[slot] = a;
    this.#bs[slot] = b;
    this.#refs[slot] = ref;
    this.#bodies[slot] = body;
    this.#pushed_count += 1;
    this.#rise(this.#size, at_ms, this.#pushed_count, slot);
    this.#size += 1;
  }

  /** Moves the next item into the fields. @returns false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    const slot = this.#slots[0]!;
    this.at_ms = this.#times[0]!;
    this.kind = this.#kinds[slot]!;
    this.host = this.#hosts[slot]!;
    this.life = this.#lives[slot]!;
    this.a = this.#as[slot]!;
    this.b = this.#bs[slot]!;
    this.ref = this.#refs[slot];
    this.body = this.#bodies[slot];
    this.#refs[slot] = null;
    this.#bodies[slot] = null;
    this.#size -= 1;
    this.#free[this.#capacity - 1 - this.#size] = slot;
    const last = this.#size;
    if (last > 0) this.#sink(this.#times[last]!, this.#orders[last]!, this.#slots[last]!);
    return true;
  }

  #rise(from: number, time: number, order: number, slot: number): void {
    const times = this.#times;
    let at = from;
    while (at > 0) {
      const parent = ((at - 1) / WIDTH) | 0;
      // What is pushed is the latest of its time.
      if (times[parent]! <= time) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, time, order, slot);
  }

  #sink(time: number, order: number, slot: number): void {
    const times = this.#times;
    const orders = this.#orders;
    const size = this.#size;
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
    const capacity = before * 2;
    const wider = <T extends Float64Array | Int32Array | Uint8Array>(array: T, made: T): T => {
      made.set(array);
      return made;
    };
    this.#times = wider(this.#times, new Float64Array(capacity));
    this.#orders = wider(this.#orders, new Float64Array(capacity));
    this.#slots = wider(this.#slots, new Int32Array(capacity));
    this.#kinds = wider(this.#kinds, new Uint8Array(capacity));
    this.#hosts = wider(this.#hosts, new Int32Array(capacity));
    this.#lives = wider(this.#lives, new Int32Array(capacity));
    this.#as = wider(this.#as, new Float64Array(capacity));
    this.#bs = wider(this.#bs, new Float64Array(capacity));
    // Free slots are a stack that is full when the queue is empty: all of the old ones are in use now.
    this.#free = Int32Array.from({ length: capacity }, (_, at) =>
      at < capacity - before ? capacity - 1 - at : -1,
    );
    this.#capacity = capacity;
  }
}
