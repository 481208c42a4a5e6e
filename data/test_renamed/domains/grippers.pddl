; Robots with grippers carry balls between rooms. `object` is declared like any other type, so it holds the balls only.
(define (domain gripper-strips)
  (:requirements :strips :typing :constraints)
  (:types room object robot gripper)
  (:predicates
    (at-robby ?robot - robot ?room - room)
    (at ?ball - object ?room - room)
    (free ?robot - robot ?gripper - gripper)
    (carry ?robot - robot ?ball - object ?gripper - gripper))

  (:action move
    :parameters (?robot - robot ?start - room ?target - room)
    :precondition (at-robby ?robot ?start)
    :effect (and (not (at-robby ?robot ?start)) (at-robby ?robot ?target)))

  (:action pick
    :parameters (?robot - robot ?ball - object ?room - room ?gripper - gripper)
    :precondition (and (at-robby ?robot ?room) (at ?ball ?room) (free ?robot ?gripper))
    :effect (and (not (at ?ball ?room)) (not (free ?robot ?gripper)) (carry ?robot ?ball ?gripper)))

  (:action drop
    :parameters (?robot - robot ?ball - object ?room - room ?gripper - gripper)
    :precondition (and (at-robby ?robot ?room) (carry ?robot ?ball ?gripper))
    :effect (and (not (carry ?robot ?ball ?gripper)) (free ?robot ?gripper) (at ?ball ?room))))
