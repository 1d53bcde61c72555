/** All checkers by name. */
import { boundsHold } from './bounds-hold.ts';
import type { Checker } from './checker.ts';
import { convergesInTime } from './converges-in-time.ts';
import { deathsAreNoticed } from './deaths-are-noticed.ts';
import { deletedStayDeleted } from './deleted-stay-deleted.ts';
import { grantsHold } from './grants-hold.ts';
import { harmIsContained } from './harm-is-contained.ts';
import { honestAreNotBanned } from './honest-are-not-banned.ts';
import { ledgersAgree } from './ledgers-agree.ts';
import { noFalseVerdicts } from './no-false-verdicts.ts';
import { numbersAreUnique } from './numbers-are-unique.ts';
import { recordsSurvive } from './records-survive.ts';
import { viewsConverge } from './views-converge.ts';

export const CHECKERS: Readonly<Record<string, Checker>> = {
  'views converge': viewsConverge,
  'converges in time': convergesInTime,
  'no false verdicts': noFalseVerdicts,
  'deaths are noticed': deathsAreNoticed,
  'acknowledged records survive': recordsSurvive,
  'the deleted stay deleted': deletedStayDeleted,
  'honest members are not banned': honestAreNotBanned,
  'ledgers agree': ledgersAgree,
  'grants hold': grantsHold,
  'numbers are unique': numbersAreUnique,
  'harm is contained': harmIsContained,
  'bounds hold': boundsHold,
};
