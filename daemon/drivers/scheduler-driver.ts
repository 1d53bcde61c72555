/** Drives the scheduler's core: views and timers in; claims, releases and renewals go to the instances of this node. */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { SlotName } from '../../protocols/base/workload.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import {
  createScheduler,
  handle,
  type Missing,
  RELEASES,
  SCHEDULER_DEFAULTS,
  type SchedulerEvent,
  type SchedulerState,
} from '../../scheduler/machine.ts';
import type { Clock } from '../clock.ts';
import type { InstanceManager } from '../instances/instance-manager.ts';
import type { Log } from '../log.ts';

export interface SchedulerDriverInit {
  readonly self: NodeId;
  readonly instances: InstanceManager;
  readonly clock: Clock;
  readonly log: Log;
}

export class SchedulerDriver implements Disposable {
  readonly #init: SchedulerDriverInit;
  readonly #state: SchedulerState;
  #cancel: (() => void) | undefined;

  constructor(init: SchedulerDriverInit) {
    this.#init = init;
    const known = { get: (slot: SlotName) => init.instances.get(slot)?.spec };
    this.#state = createScheduler(init.self, SCHEDULER_DEFAULTS, known);
  }

  /** @param missing undefined: nothing is. */
  view(view: ClusterView, missing: Missing | undefined): void {
    this.#dispatch({ kind: 'view', view, ...(missing && { missing }) });
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
  }

  #dispatch(event: SchedulerEvent): void {
    const { clock, instances, log } = this.#init;
    for (const effect of handle(this.#state, event, { now: clock.now() })) {
      switch (effect.kind) {
        case 'claim':
          log('info', 'claimed a slot', { slot: effect.slot, attempt: effect.allocation.attempt });
          instances.claim({ slot: effect.slot, spec: effect.spec, body: effect.allocation });
          break;
        case 'release':
          log('info', `released a slot: ${RELEASES[effect.reason]}`, { slot: effect.slot });
          instances.release(effect.slot, RELEASES[effect.reason]);
          break;
        case 'renew':
          instances.renew(effect.slot, effect, effect.spec);
          break;
        case 'schedule': {
          const { token } = effect;
          this.#cancel?.();
          this.#cancel = clock.after(effect.at_ms - clock.now(), () =>
            this.#dispatch({ kind: 'timer', token }),
          );
          break;
        }
        case 'notify':
          log('info', 'a slot finds no node', { slot: effect.slot, refusals: effect.refusals });
          break;
      }
    }
  }
}
