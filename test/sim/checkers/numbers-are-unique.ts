/** No honest member is ever seen to sign two records for one number, whatever became of its disk. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const numbersAreUnique: Checker = ({ chronicle, stage }) =>
  [...chronicle.equivocators]
    .filter((author) => !stage.byzantine.includes(author))
    .map((author) => `${shortId(author)} is honest, and signed two records for one number`);
