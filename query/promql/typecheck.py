"""Types of expressions, and the checks that need them."""

from __future__ import annotations

from dataclasses import dataclass

from query.promql import ast
from query.promql.ast import Cardinality, ValueType
from query.promql.signatures import COMPARISONS, FUNCTIONS, PARAMETER_TYPES, SET_OPERATORS

_SCALAR_OR_VECTOR = (ValueType.SCALAR, ValueType.VECTOR)


def type_of(expr: ast.Expr) -> ValueType:
    """The type an expression yields."""
    inner = ast.unwrap(expr)
    match inner:
        case ast.NumberLiteral():
            return ValueType.SCALAR
        case ast.StringLiteral():
            return ValueType.STRING
        case ast.VectorSelector() | ast.Aggregation():
            return ValueType.VECTOR
        case ast.MatrixSelector() | ast.Subquery():
            return ValueType.MATRIX
        case ast.Unary(expr=operand):
            return type_of(operand)
        case ast.Call(function=name):
            return FUNCTIONS[name].returns
        case ast.Binary(left=left, right=right):
            both_scalar = type_of(left) is type_of(right) is ValueType.SCALAR
            return ValueType.SCALAR if both_scalar else ValueType.VECTOR
        case _:
            raise AssertionError(inner)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a node is not valid, in Prometheus' words, and the offset to blame when it is not the node's own."""

    message: str
    start: int | None = None


def complaint(node: ast.Expr) -> Complaint | None:
    """What is wrong with a freshly built node, or None. Its children have passed."""
    match node:
        case ast.Unary():
            if type_of(node.expr) not in _SCALAR_OR_VECTOR:
                return Complaint(
                    "unary expression only allowed on expressions of type scalar or instant vector, "
                    f'got "{type_of(node.expr).value}"'
                )
        case ast.Subquery():
            if type_of(node.expr) is not ValueType.VECTOR:
                return Complaint(f"subquery is only allowed on instant vector, got {type_of(node.expr).value} instead")
        case ast.Binary():
            return _operands(node) or _binary(node)
        case ast.Aggregation():
            return _aggregation(node)
        case ast.Call():
            return _call(node)
        case _:
            pass
    return None


def _operands(node: ast.Binary) -> Complaint | None:
    for side in (node.left, node.right):
        if type_of(side) not in _SCALAR_OR_VECTOR:
            return Complaint("binary expression must contain only scalar and instant vector types", side.span.start)
    return None


def _binary(node: ast.Binary) -> Complaint | None:
    left, right = type_of(node.left), type_of(node.right)
    whole = node.span.start
    if node.return_bool and node.op not in COMPARISONS:
        return Complaint("bool modifier can only be used on comparison operators")
    if node.op in COMPARISONS and not node.return_bool and left is right is ValueType.SCALAR:
        return Complaint("comparisons between scalars must use BOOL modifier")
    if node.op in SET_OPERATORS and ValueType.SCALAR in (left, right):
        return Complaint(f'set operator "{node.op}" not allowed in binary scalar expression', whole)
    matching = node.matching
    if matching is None:
        return None
    if ValueType.SCALAR in (left, right):
        return Complaint("vector matching only allowed between instant vectors", whole)
    grouped = matching.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
    if node.op in SET_OPERATORS and grouped:
        return Complaint(f'no grouping allowed for "{node.op}" operation', whole)
    both = set(matching.labels) & set(matching.include) if matching.on else set()
    return Complaint(f'label "{min(both)}" must not occur in ON and GROUP clause at once') if both else None


def _aggregation(node: ast.Aggregation) -> Complaint | None:
    wanted = PARAMETER_TYPES[node.op]
    if (wanted is None) is not (node.param is None):
        needed, given = (1, 2) if wanted is None else (2, 1)
        return Complaint(f"wrong number of arguments for aggregate expression provided, expected {needed}, got {given}")
    if type_of(node.expr) is not ValueType.VECTOR:
        got = type_of(node.expr).value
        return Complaint(f"expected type instant vector in aggregation expression, got {got}", node.expr.span.start)
    if node.param is not None and wanted is not None and type_of(node.param) is not wanted:
        got = type_of(node.param).value
        return Complaint(f"expected type {wanted.value} in aggregation parameter, got {got}", node.param.span.start)
    return None


def _call(node: ast.Call) -> Complaint | None:
    signature = FUNCTIONS[node.function]
    most = None if signature.optional is None else len(signature.args)
    least = len(signature.args) - (1 if signature.optional is None else signature.optional)
    given = len(node.args)
    if most == least and given != least:
        return Complaint(f'expected {least} argument(s) in call to "{node.function}", got {given}')
    if given < least:
        return Complaint(f'expected at least {least} argument(s) in call to "{node.function}", got {given}')
    if most is not None and given > most:
        return Complaint(f'expected at most {most} argument(s) in call to "{node.function}", got {given}')
    for index, arg in enumerate(node.args):
        wanted, got = signature.args[min(index, len(signature.args) - 1)], type_of(arg)
        if got is not wanted:
            message = f'expected type {wanted.value} in call to function "{node.function}", got {got.value}'
            return Complaint(message, arg.span.start)
    return None
