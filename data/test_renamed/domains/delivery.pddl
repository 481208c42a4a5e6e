; A truck on a grid of cells; `last` remembers every cell it has left.
(define (domain delivery)
  (:requirements :typing :equality :negative-preconditions :constraints)
  (:types
    cell locatable - object
    package truck - locatable)
  (:predicates
    (at ?thing - locatable ?cell - cell)
    (carrying ?truck - truck ?package - package)
    (empty ?truck - truck)
    (adjacent ?cell1 - cell ?cell2 - cell)
    (last ?truck - truck ?cell - cell))

  (:action pick-package
    :parameters (?truck - truck ?package - package ?cell - cell)
    :precondition (and (empty ?truck) (at ?truck ?cell) (at ?package ?cell))
    :effect (and (not (empty ?truck)) (not (at ?package ?cell)) (carrying ?truck ?package)))

  (:action drop-package
    :parameters (?truck - truck ?package - package ?cell - cell)
    :precondition (and (carrying ?truck ?package) (at ?truck ?cell))
    :effect (and (not (carrying ?truck ?package)) (empty ?truck) (at ?package ?cell)))

  (:action move
    :parameters (?truck - truck ?start - cell ?target - cell)
    :precondition (and (adjacent ?start ?target) (not (= ?start ?target)) (at ?truck ?start))
    :effect (and (not (at ?truck ?start)) (at ?truck ?target) (last ?truck ?start))))
