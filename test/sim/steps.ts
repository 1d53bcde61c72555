/** The kinds of steps in virtual time. Those of a process wait while it is busy; the others are the kernel's or nobody's. */

export const STEP = {
  // Of a process.
  start: 0,
  timer: 1,
  command: 2,
  arrival: 3,
  dialled: 4,
  accepted: 5,
  reset: 6,
  shut: 7,
  dialTimeout: 8,
  heartbeat: 9,
  unblocked: 10,
  relay: 11,
  subscribed: 12,
  // Of a kernel.
  retry: 16,
  syn: 17,
  unacknowledged: 18,
  // Of the simulator: a process is free, and what has waited for it goes on.
  resume: 19,
  // Of the story.
  act: 32,
} as const;

export const KERNEL_FROM = STEP.retry;
