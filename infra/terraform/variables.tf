variable "subscription_id" {
  description = "The subscription that pays."
  type        = string
}

variable "name" {
  description = "What everything is named after: lower-case letters and digits. With the suffix it must be nobody else's in Azure."
  type        = string
  default     = "parallax"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,11}$", var.name))
    error_message = "3 to 12 lower-case letters and digits, a letter first: names of storage accounts allow no more."
  }
}

variable "location" {
  description = "The region. It must have the GPUs: `az vm list-skus --location REGION --size Standard_NC --output table`."
  type        = string
  default     = "westeurope"
}

variable "host" {
  description = "The name that the service answers to, as in parallax.example.com."
  type        = string
}

variable "admin_ip_ranges" {
  description = "Who may reach the cluster's API, the vault and the storage from outside, as in [\"203.0.113.7/32\"]."
  type        = list(string)

  validation {
    condition     = length(var.admin_ip_ranges) > 0 && !contains(var.admin_ip_ranges, "0.0.0.0/0")
    error_message = "At least one range, and not everybody."
  }
}

variable "admin_group_id" {
  description = "Object id of the Entra group that administers the cluster."
  type        = string
}

variable "namespace" {
  description = "The Kubernetes namespace of the release, and `release` its name: the identity is bound to both."
  type        = string
  default     = "parallax"
}

variable "release" {
  description = "The name of the Helm release."
  type        = string
  default     = "parallax"
}

variable "cpu_vm_size" {
  description = "Nodes that serve on CPUs."
  type        = string
  default     = "Standard_D4as_v5"
}

variable "cpu_max_nodes" {
  description = "Of these, so many at most."
  type        = number
  default     = 4
}

variable "gpu_vm_size" {
  description = "Nodes that serve on a GPU, at spot price: a T4 (Turing, which CUDA 13 still knows). The V100 sizes (NCv3) are retired."
  type        = string
  default     = "Standard_NC4as_T4_v3"
}

variable "gpu_max_nodes" {
  description = "Of these, so many at most; there are none while nothing asks for one."
  type        = number
  default     = 2
}

variable "training_vm_size" {
  description = "Nodes of Azure ML that train, at spot price. In the article it was a V100 (NC6s_v3); an A100 took its place."
  type        = string
  default     = "Standard_NC24ads_A100_v4"
}

variable "custom_vision" {
  description = "Make the two Custom Vision resources. The service ends on 25 September 2028."
  type        = bool
  default     = true
}
