/**
 * fast-check as all laws use it. A law that fails is made smaller for so long only that its test file ends by itself, and what
 * never ends can be run again as well: the lot that all laws of a process draw from is told before they begin.
 */
import fc from 'fast-check';
import t from 'tap';

/** Less than scripts/test gives a file. */
const LAW_MS_MAX = 90_000;

const seed = Number(process.env['LAW_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
fc.configureGlobal({ seed, interruptAfterTimeLimit: LAW_MS_MAX, markInterruptAsFailure: true });
t.comment(`laws draw from LAW_SEED=${seed}`);

export default fc;
