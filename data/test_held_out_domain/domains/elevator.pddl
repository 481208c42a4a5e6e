; A lift that carries any number of passengers between floors.
(define (domain elevator)
  (:requirements :typing :strips :constraints :negative-preconditions)
  (:types
    floor passenger - object)
  (:predicates
    (lift-at ?floor - floor)
    (below ?lower - floor ?upper - floor)
    (waiting ?passenger - passenger ?floor - floor)
    (bound-for ?passenger - passenger ?floor - floor)
    (riding ?passenger - passenger)
    (served ?passenger - passenger))

  (:action up
    :parameters (?start - floor ?target - floor)
    :precondition (and (lift-at ?start) (below ?start ?target))
    :effect (and (not (lift-at ?start)) (lift-at ?target)))

  (:action down
    :parameters (?start - floor ?target - floor)
    :precondition (and (lift-at ?start) (below ?target ?start))
    :effect (and (not (lift-at ?start)) (lift-at ?target)))

  (:action enter
    :parameters (?passenger - passenger ?floor - floor)
    :precondition (and (lift-at ?floor) (waiting ?passenger ?floor))
    :effect (and (not (waiting ?passenger ?floor)) (riding ?passenger)))

  (:action leave
    :parameters (?passenger - passenger ?floor - floor)
    :precondition (and (lift-at ?floor) (riding ?passenger) (bound-for ?passenger ?floor))
    :effect (and (not (riding ?passenger)) (served ?passenger))))
