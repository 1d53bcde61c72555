/** Pieces that the schemas of the API are made of. Not here: any request or response (schemas.ts, trust-schemas.ts). */
import Type, { type TSchema } from 'typebox';
import { LABEL_PATTERN } from '../../protocols/base/label.ts';

export const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Text = (length_max: number) => Type.String({ maxLength: length_max });
export const Given = (length_max: number) => Type.String({ minLength: 1, maxLength: length_max });
export const OrNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
export const OneOf = <const T extends string[]>(values: readonly [...T]) => Type.Enum([...values]);
/** Requests refuse fields that they do not know: a misspelt option must not be ignored in silence. */
export const closed = { additionalProperties: false };

export const Label = Type.String({ pattern: LABEL_PATTERN, maxLength: 63 });
/** A node by its id, by the last eight or more characters of it, or by its name. */
export const NodeText = Text(64);

/** Seed of an operator's key in hex, a secret, for this act alone; absent: the key on the node, or the node's own. */
export const OperatorKey = Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' }));
